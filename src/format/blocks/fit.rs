//! The scale, and the minimum, with which rounded weights come closest: a search over steps near the obvious one, each followed
//! by the least squares of its codes. Errors count by the weight's importance.

/// Weights that share a scale, divided by the largest of their block, and how much each counts.
#[derive(Clone, Copy)]
pub(super) struct Weighed<'a> {
    pub(super) x: &'a [f32],
    pub(super) importance: &'a [f32],
}

/// How far steps are tried around the obvious one, in tenths of a code.
const TENTHS: std::ops::RangeInclusive<i32> = -12..=12;

fn near(codes: f32) -> impl Iterator<Item = f32> {
    TENTHS.map(move |tenth| codes + tenth as f32 * 0.1)
}

/// Weights that are summed up side by side; those that share a scale are whole numbers of them.
const LANES: usize = 8;

impl Weighed<'_> {
    /// Sums of what `of` makes of each weight and its importance.
    fn sums<const N: usize>(self, of: impl Fn(f32, f32) -> [f32; N]) -> [f32; N] {
        let mut sums = [[0.0; LANES]; N];
        for (x, importance) in self.x.as_chunks::<LANES>().0.iter().zip(self.importance.as_chunks::<LANES>().0) {
            for lane in 0..LANES {
                let terms = of(x[lane], importance[lane]);
                sums.iter_mut().zip(terms).for_each(|(sum, term)| sum[lane] += term);
            }
        }
        sums.map(|lanes| lanes.iter().sum())
    }

    /// The error of these values.
    pub(super) fn error(self, rounded: impl Fn(f32) -> f32) -> f32 {
        let [error] = self.sums(|x, w| [w * (x - rounded(x)) * (x - rounded(x))]);
        error
    }
}

/// The weight of greatest magnitude, with its sign; the first of several.
pub(super) fn extreme(block: &[f32]) -> f32 {
    block.iter().copied().fold(block[0], |max, w| if w.abs() > max.abs() { w } else { max })
}

/// The nearest whole number of a code, which is small. Adding what leaves no bits for fractions rounds many codes at a time;
/// `round` is a call for each where no instruction can be counted on.
fn nearest(code: f32) -> f32 {
    const NO_FRACTIONS: f32 = 12_582_912.0;
    code + NO_FRACTIONS - NO_FRACTIONS
}

/// 1 / scale, and 0 for a scale of 0, which makes all codes 0.
pub(super) fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// A signed code of −`most` to `most` − 1.
pub(super) fn signed_code(x: f32, inverse: f32, most: f32) -> f32 {
    nearest((x * inverse).clamp(-most, most - 1.0))
}

/// The scale s of x ≈ s·q with q of −`most` to `most` − 1; negative where the largest weight is positive, since there is one more
/// code below zero.
pub(super) fn scale(weighed: Weighed<'_>, most: f32) -> f32 {
    let extreme = extreme(weighed.x);
    if extreme == 0.0 {
        return 0.0;
    }
    let (mut best, mut least_squares) = (0.0, 0.0);
    for inverse in near(most).map(|codes| -codes / extreme) {
        let [xq, qq] = weighed.sums(|x, w| {
            let q = signed_code(x, inverse, most);
            [w * x * q, w * q * q]
        });
        // What the squares of x lose by s·q.
        if qq > 0.0 && xq * xq > best * qq {
            (best, least_squares) = (xq * xq / qq, xq / qq);
        }
    }
    least_squares
}

/// Which minima a type has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Minima {
    /// Any.
    Any,
    /// Zero or below.
    NotAboveZero,
}

/// The scale s and minimum m of x ≈ s·q + m with q of 0 to `max_code`.
pub(super) fn scale_and_min(weighed: Weighed<'_>, max_code: f32, minima: Minima) -> (f32, f32) {
    let mut low = weighed.x.iter().copied().fold(f32::INFINITY, f32::min);
    let high = weighed.x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if minima == Minima::NotAboveZero {
        low = low.min(0.0);
    }
    if high <= low {
        return (0.0, low);
    }
    let (mut least, mut best) = (f32::INFINITY, ((high - low) / max_code, low));
    for inverse in near(max_code).map(|codes| codes / (high - low)) {
        let Some((scale, min)) = least_squares(weighed, minima, |x| unsigned_code(x - low, inverse, max_code)) else {
            continue;
        };
        let inverse = self::inverse(scale);
        let error = weighed.error(|x| scale * unsigned_code(x - min, inverse, max_code) + min);
        if error < least {
            (least, best) = (error, (scale, min));
        }
    }
    best
}

/// A code of 0 to `max_code`.
pub(super) fn unsigned_code(above_min: f32, inverse: f32, max_code: f32) -> f32 {
    nearest((above_min * inverse).clamp(0.0, max_code))
}

/// The s and m of least Σ w·(x − s·q − m)², none where all codes are the same.
fn least_squares(weighed: Weighed<'_>, minima: Minima, code: impl Fn(f32) -> f32) -> Option<(f32, f32)> {
    let [w1, wx, wq, wxq, wqq] = weighed.sums(|x, w| {
        let q = code(x);
        [w, w * x, w * q, w * x * q, w * q * q]
    });
    let determinant = w1 * wqq - wq * wq;
    let (scale, min) = ((w1 * wxq - wx * wq) / determinant, (wqq * wx - wq * wxq) / determinant);
    let (scale, min) = if minima == Minima::NotAboveZero && min > 0.0 { (wxq / wqq, 0.0) } else { (scale, min) };
    (determinant > 0.0 && scale > 0.0 && scale.is_finite() && min.is_finite()).then_some((scale, min))
}
