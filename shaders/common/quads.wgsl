// Where weights lie (src/format/planes.rs): a quad is 4 rows, eight make a tile, and a plane is (tile, step of 64 columns, unit of
// the record, quad of the tile). A granule is 32 columns, half a step.

// A row has STEPS steps.

// A unit of each row of a quad.
struct Rows { a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32> }
// Four weights, or their codes, of each.
struct Quad { a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32> }
// What makes weights of a quad's codes, by row: w = scale·code + offset.
struct Affine { scale: vec4<f32>, offset: vec4<f32> }

// A quad's place: records of a plane before its tile, and its own place there.
struct At { records: u32, side: u32 }
fn at_quad(quad: u32) -> At { return At((quad / 8u) * STEPS, quad % 8u); }

// Unit u of the record of a step, in a plane with `units` per record.
fn unit(plane: u32, at: At, step: u32, units: u32, u: u32) -> vec4<u32> {
    return weights[plane + ((at.records + step) * units + u) * 8u + at.side];
}
// The record of a block of 256 columns, or of half of it, one unit: 4 bytes of each row.
fn block_unit(plane: u32, at: At, step: u32) -> vec4<u32> {
    return weights[plane + (at.records + step) / 4u * 8u + at.side];
}
fn half_block_unit(plane: u32, at: At, step: u32) -> vec4<u32> {
    return weights[plane + (at.records + step) / 2u * 8u + at.side];
}
fn row_units(plane: u32, at: At, step: u32, units: u32, first: u32, apart: u32) -> Rows {
    return Rows(
        unit(plane, at, step, units, first),
        unit(plane, at, step, units, first + apart),
        unit(plane, at, step, units, first + 2u * apart),
        unit(plane, at, step, units, first + 3u * apart),
    );
}

// The four rows' 16 bits for granule g of a step: two words of a unit.
fn half_unit(words: vec4<u32>, g: u32) -> vec2<u32> { return select(words.xy, words.zw, g == 1u); }
fn four_f16(words: vec2<u32>) -> vec4<f32> { return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y)); }
// The first, or second, of each word's two f16.
fn first_f16(words: vec4<u32>) -> vec4<f32> { return four_f16((words.xz & vec2<u32>(0xFFFFu)) | (words.yw << vec2<u32>(16u))); }
fn second_f16(words: vec4<u32>) -> vec4<f32> { return four_f16((words.xz >> vec2<u32>(16u)) | (words.yw & vec2<u32>(0xFFFF0000u))); }
// A bf16 is the upper half of a float.
fn four_bf16(words: vec2<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(words.x << 16u, words.x & 0xFFFF0000u, words.y << 16u, words.y & 0xFFFF0000u));
}
