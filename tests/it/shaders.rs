//! The Rust/WGSL contract, held without a GPU: every variant of every kernel, for devices with and without subgroups, is
//! composed, parsed and validated by naga, compared with its Rust declaration and with WebGPU's default limits, and
//! translated to SPIR-V, MSL and HLSL.

use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, StorageAccess, TypeInner};
use trice::gpu::shader::{Access, Caps, Kernel, ParamsLayout, SLOT_FILES, Variant, compose};
use trice::kernels;

/// WebGPU's default limits: what every device takes.
const MAX_STORAGE_BUFFERS: usize = 8;
const MAX_INVOCATIONS: u32 = 256;
const MAX_WORKGROUP_BYTES: u32 = 16 << 10;

const CAPS: [Caps; 4] = [
    Caps { subgroups: false, f16: false, min_lanes: 0, browser: false },
    Caps { subgroups: true, f16: false, min_lanes: 4, browser: false },
    Caps { subgroups: true, f16: true, min_lanes: 8, browser: false },
    Caps { subgroups: true, f16: true, min_lanes: 32, browser: false },
];

fn all() -> Vec<(Caps, &'static Kernel, Variant)> {
    CAPS.iter()
        .flat_map(|caps| kernels::all(caps).into_iter().map(|(kernel, variant)| (*caps, kernel, variant)))
        .collect()
}

fn validate(kernel: &Kernel, variant: &Variant, text: &str) -> (Module, ModuleInfo) {
    let name = format!("{} [{}]", kernel.name, variant.label());
    let module =
        naga::front::wgsl::parse_str(text).unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(text)));
    let mut can = Capabilities::SUBGROUP | Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    can.set(Capabilities::SHADER_FLOAT16, variant.computes_in_f16());
    let info = Validator::new(ValidationFlags::all(), can)
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all())
        .validate(&module)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(text)));
    (module, info)
}

fn check_layout(name: &str, module: &Module, handle: naga::Handle<naga::Type>, layout: &ParamsLayout) {
    let TypeInner::Struct { members, span } = &module.types[handle].inner else {
        panic!("{name}: params are no struct")
    };
    assert_eq!(*span as usize, layout.size, "{name}: size of params");
    let wgsl: Vec<_> = members.iter().map(|m| (m.name.clone().unwrap_or_default(), m.offset as usize)).collect();
    let rust: Vec<_> = layout.fields.iter().map(|(field, offset)| ((*field).to_owned(), *offset)).collect();
    assert_eq!(wgsl, rust, "{name}: members of params");
}

fn check_bindings(kernel: &Kernel, variant: &Variant, module: &Module) {
    let name = format!("{} [{}]", kernel.name, variant.label());
    let mut n_storage = 0;
    for (_, global) in module.global_variables.iter() {
        let Some(binding) = &global.binding else { continue };
        assert_eq!(binding.group, 0, "{name}: group");
        if binding.binding == 0 {
            assert_eq!(global.space, AddressSpace::Uniform, "{name}: params");
            check_layout(&name, module, global.ty, &kernel.params);
        } else {
            let found = match global.space {
                AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => Access::ReadWrite,
                AddressSpace::Storage { .. } => Access::Read,
                space => panic!("{name}: binding in {space:?}"),
            };
            n_storage += 1;
            let declared = kernel.bindings.get(binding.binding as usize - 1);
            assert_eq!(declared, Some(&found), "{name}: binding {}", binding.binding);
        }
    }
    assert!(n_storage <= MAX_STORAGE_BUFFERS, "{name}: {n_storage} storage buffers");
    let declared = kernel.bindings.len();
    assert!(declared <= MAX_STORAGE_BUFFERS, "{name}: declares {declared} storage buffers");
}

fn check_limits(kernel: &Kernel, variant: &Variant, module: &Module) {
    let name = format!("{} [{}]", kernel.name, variant.label());
    let entry = &module.entry_points[0];
    assert!(entry.workgroup_size.iter().product::<u32>() <= MAX_INVOCATIONS, "{name}: invocations");
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).unwrap();
    let shared = module.global_variables.iter().filter(|(_, global)| global.space == AddressSpace::WorkGroup);
    let n_bytes: u32 = shared.map(|(_, global)| layouter[global.ty].size).sum();
    assert!(n_bytes <= MAX_WORKGROUP_BYTES, "{name}: {n_bytes} bytes of workgroup memory");
}

#[test]
fn every_variant_keeps_the_contract() {
    let all = all();
    for (caps, kernel, variant) in &all {
        let text = compose(kernel, variant, caps);
        let (module, _) = validate(kernel, variant, &text);
        assert_eq!(module.entry_points.len(), 1, "{}: entry points", kernel.name);
        check_bindings(kernel, variant, &module);
        check_limits(kernel, variant, &module);
    }
    assert!(all.len() > 300, "only {} variants", all.len());
}

/// Compiling to every backend is slow in numbers: one variant of each kernel and weight format, with and without subgroups.
#[test]
fn every_kernel_translates_to_every_backend() {
    let mut seen = std::collections::HashSet::new();
    for (caps, kernel, variant) in all() {
        let label = variant.label();
        let weights = label.split(' ').next().unwrap_or_default().to_owned();
        let math = ["f16", "int8"].map(|math| label.split(' ').skip(1).any(|word| word == math));
        if !seen.insert((caps.min_lanes, kernel.name, weights, math)) {
            continue;
        }
        let (module, info) = validate(kernel, &variant, &compose(kernel, &variant, &caps));
        let name = format!("{} [{label}]", kernel.name);
        let options = spv::Options { lang_version: (1, 3), ..spv::Options::default() };
        spv::write_vec(&module, &info, &options, None).unwrap_or_else(|error| panic!("{name}: SPIR-V: {error}"));
        let options = msl::Options { lang_version: (2, 4), fake_missing_bindings: true, ..msl::Options::default() };
        msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
            .unwrap_or_else(|error| panic!("{name}: MSL: {error}"));
        let mut text = String::new();
        let options = hlsl::Options {
            fake_missing_bindings: true,
            // The first with 16-bit floats.
            shader_model: if variant.computes_in_f16() { hlsl::ShaderModel::V6_2 } else { hlsl::ShaderModel::V6_0 },
            ..hlsl::Options::default()
        };
        hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions::default())
            .write(&module, &info, None)
            .unwrap_or_else(|error| panic!("{name}: HLSL: {error}"));
    }
}

#[test]
fn sampling_parameters_have_the_shaders_layout() {
    let (caps, kernel, variant) = all().into_iter().find(|(_, kernel, _)| kernel.name == "sample").unwrap();
    let (module, _) = validate(kernel, &variant, &compose(kernel, &variant, &caps));
    let (handle, _) = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some("Sampling")).unwrap();
    check_layout("Sampling", &module, handle, &kernels::sample::SAMPLING_LAYOUT);
}

/// Those who read the state and the one who writes it agree with Rust on where things stand.
#[test]
fn the_state_has_the_shaders_layout() {
    for name in ["embed", "sample"] {
        let (caps, kernel, variant) = all().into_iter().find(|(_, kernel, _)| kernel.name == name).unwrap();
        let (module, _) = validate(kernel, &variant, &compose(kernel, &variant, &caps));
        let (handle, _) = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some("State")).unwrap();
        check_layout(name, &module, handle, &kernels::STATE_LAYOUT);
    }
}

#[test]
fn files_hold_no_preprocessor_no_enable_and_folders_no_entry_point() {
    for (name, text) in SLOT_FILES {
        assert!(!text.contains("@compute"), "{name} has an entry point");
    }
    let kernels = kernels::all(&CAPS[0]);
    let sources = SLOT_FILES.iter().copied().chain(kernels.iter().map(|(kernel, _)| (kernel.name, kernel.source)));
    for (name, text) in sources {
        for line in text.lines() {
            assert!(!line.starts_with("#if") && !line.starts_with("#def"), "{name}: preprocessor: {line}");
            assert!(!line.starts_with("enable ") && !line.starts_with("requires "), "{name}: {line}");
        }
    }
}

#[test]
fn browsers_get_their_enable_line_and_naga_does_not() {
    let caps = Caps { browser: true, ..CAPS[2] };
    let (kernel, variant) = kernels::all(&caps).into_iter().find(|(kernel, _)| kernel.name == "matvec").unwrap();
    assert!(compose(kernel, &variant, &caps).starts_with("enable subgroups;\n"));
    let native = CAPS[2];
    assert!(!compose(kernel, &variant, &native).contains("enable subgroups"));
}

#[test]
fn half_floats_are_enabled_where_they_are_computed_with_and_nowhere_else() {
    let mut n_half = 0;
    for (caps, kernel, variant) in all() {
        let is_enabled = compose(kernel, &variant, &caps).contains("enable f16;");
        assert_eq!(is_enabled, variant.computes_in_f16(), "{} [{}]", kernel.name, variant.label());
        assert!(caps.f16 || !is_enabled, "{} on a device without half floats", kernel.name);
        n_half += usize::from(is_enabled);
    }
    assert!(n_half > 0, "no variant computes in half floats");
}
