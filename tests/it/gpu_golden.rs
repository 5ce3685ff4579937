//! Tiny random models of every architecture against torch and transformers (tests/golden): heads that share keys, tied and untied
//! heads, biases, windows, every rope scaling, sizes that are no multiple of anything; as a folder and as a GGUF.

/// A test per family of goldens, so that each is seen to fail by itself, and one that no family is left out.
macro_rules! test_families {
    ($($family:ident),* $(,)?) => {
        $(
            #[test]
            fn $family() {
                let Some(gpu) = crate::common::gpu::test_gpu() else { return };
                super::check_family(&goldens(), stringify!($family), &|golden, checkpoint| run(&gpu, golden, checkpoint));
            }
        )*

        #[test]
        fn no_family_is_left_out() {
            let there: std::collections::BTreeSet<String> = goldens().iter().map(Golden::family).collect();
            assert_eq!(there, [$(stringify!($family).to_owned()),*].into());
        }
    };
}

mod decoders;
mod encoders;
mod export;
mod lora;
mod table;

use crate::common::hashed::Golden;
use crate::common::reference::nmse;
use trice::format::Checkpoint;

/// How far results may be from torch's. In 32-bit floats they are a thousand times nearer; the other GELU would be 3e-8 away, a
/// wrong epsilon 5e-7.
const MAX_NMSE: f64 = 1e-9;

/// What a model is read from.
#[derive(Clone, Copy, Debug)]
enum Form {
    Folder,
    Gguf,
}

impl Form {
    const ALL: [Self; 2] = [Self::Folder, Self::Gguf];

    /// `golden` in this form, where there is one.
    fn open(self, golden: &Golden) -> Option<Checkpoint> {
        match self {
            Self::Folder => Some(golden.folder()),
            Self::Gguf => golden.gguf(),
        }
    }
}

/// How far a model's results are from torch's at worst, or what is wrong with them.
type Outcome = Result<f64, String>;

/// The distance of `out` from `wanted`, which must be small and have its largest value at the same place.
fn compare(what: &str, out: &[f32], wanted: &[f64]) -> Outcome {
    let error = nmse(out, wanted);
    let (found, right) = (largest(out.iter().map(|v| f64::from(*v))), largest(wanted.iter().copied()));
    // NaN is never small.
    if error <= MAX_NMSE && found == right {
        return Ok(error);
    }
    Err(format!("{what}: NMSE {error:.1e}, {MAX_NMSE:e} was wanted; the largest value is {found}, {right} was wanted"))
}

/// Where the largest value stands.
fn largest(values: impl Iterator<Item = f64>) -> usize {
    values.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0
}

/// What `run` makes of `golden` in this form, where there is such a file.
fn outcome(golden: &Golden, form: Form, run: &dyn Fn(&Golden, &Checkpoint) -> Outcome) -> Option<Outcome> {
    form.open(golden).map(|checkpoint| run(golden, &checkpoint))
}

/// Runs `run` on both forms of every golden of `family`, and fails with all that is wrong.
fn check_family(goldens: &[Golden], family: &str, run: &dyn Fn(&Golden, &Checkpoint) -> Outcome) {
    let of_family: Vec<_> = goldens.iter().filter(|golden| golden.family() == family).collect();
    assert!(!of_family.is_empty(), "no golden of {family}");
    let mut wrong = Vec::new();
    for golden in of_family {
        for form in Form::ALL {
            match outcome(golden, form, run) {
                None => {}
                Some(Ok(worst)) => println!("{} | {form:?} | NMSE {worst:.1e} at worst", golden.name()),
                Some(Err(what)) => wrong.push(format!("{} as a {form:?}: {what}", golden.name())),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
