// Weights that are their own codes, loaded as they are used.
struct Scales { none: u32 }
fn load_scales(at: At, step: u32) -> Scales { return Scales(0u); }
fn affine(s: Scales, g: u32, h: u32) -> Affine { return Affine(vec4<f32>(1.0), vec4<f32>(0.0)); }
const VEC4S_PER_SCALE: u32 = 8u;
const HAS_OFFSET: bool = false;
struct Codes { at: At, step: u32, g: u32 }
fn load_codes(at: At, step: u32, g: u32) -> Codes { return Codes(at, step, g); }
