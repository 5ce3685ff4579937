// The exact GELU, v·Φ(v). erf by Abramowitz and Stegun 7.1.26, |error| < 1.5e-7.
fn activate(v: f32) -> f32 {
    let a = abs(v) * 0.70710678;
    let t = 1.0 / (1.0 + 0.3275911 * a);
    let poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
    let erf = 1.0 - poly * exp(-a * a);
    return 0.5 * v * (1.0 + select(erf, -erf, v < 0.0));
}
