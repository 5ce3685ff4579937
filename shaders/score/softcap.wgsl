// c·tanh(v/c) with c = params.softcap (Gemma 2, arXiv 2408.00118). Clamped: tanh of a large argument overflows inside on some drivers.
fn scored(v: f32, head: u32, column: u32, position: u32) -> f32 {
    return params.softcap * tanh(clamp(v / params.softcap, -15.0, 15.0));
}
