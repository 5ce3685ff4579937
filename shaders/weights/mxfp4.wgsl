#import code_book
// Plane 0: codes, floats of 4 bits, doubled; plane 1: scale, half of a power of two, as bf16 per row and granule. w = d·book[q]
const BOOK_0 = vec4<i32>(0, 1, 2, 3);
const BOOK_1 = vec4<i32>(4, 6, 8, 12);
const BOOK_2 = vec4<i32>(0, -1, -2, -3);
const BOOK_3 = vec4<i32>(-4, -6, -8, -12);
struct Scales { d: vec4<u32> }
fn load_scales(at: At, step: u32) -> Scales { return Scales(unit(params.planes.y, at, step, 1u, 0u)); }
fn affine(s: Scales, g: u32, h: u32) -> Affine { return Affine(four_bf16(half_unit(s.d, g)), vec4<f32>(0.0)); }
const VEC4S_PER_SCALE: u32 = 8u;
const HAS_OFFSET: bool = false;
