// GELU by tanh, v/2·(1 + tanh(√(2/π)·(v + 0.044715·v³))) (arXiv 1606.08415). Clamped: tanh of a large argument overflows inside on some drivers.
fn activate(v: f32) -> f32 {
    let u = 0.7978845608 * (v + 0.044715 * v * v * v);
    return 0.5 * v * (1.0 + tanh(clamp(u, -15.0, 15.0)));
}
