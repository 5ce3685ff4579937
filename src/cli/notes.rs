//! What is said on stderr, once behind all results, of how texts were read. Each result says it of its own text.

use super::context::Context;
use trice::tasks::{MAX_UNKNOWN_SHARE, Reading};

/// Texts whose results are to be taken with care.
#[derive(Default)]
pub(crate) struct Notes {
    n_texts: usize,
    /// Number and share of unknown tokens of the first such text, and how many there are.
    unknown: Option<(usize, f32)>,
    n_unknown: usize,
    n_cut: usize,
}

impl Notes {
    /// Notes how the next text was read.
    pub(crate) fn add(&mut self, reading: &Reading) {
        self.n_texts += 1;
        if let Some(share) = reading.unknown_share {
            self.unknown.get_or_insert((self.n_texts, share));
            self.n_unknown += 1;
        }
        self.n_cut += usize::from(reading.dropped_tokens > 0);
    }

    /// Says it.
    pub(crate) fn say(&self, context: &Context) {
        self.lines().iter().for_each(|line| context.note(line));
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let of = |n: usize| format!("{n} of {} texts", self.n_texts);
        if let Some((text, share)) = self.unknown {
            let (most, percent) = (100.0 * MAX_UNKNOWN_SHARE, 100.0 * share);
            lines.push(format!(
                "warning: {}: the model does not know more than {most:.0} % of the tokens ({percent:.0} % of text {text}), so results mean little",
                of(self.n_unknown)
            ));
        }
        if self.n_cut > 0 {
            lines.push(format!(
                "note: {}: longer than the model's context; what is beyond was not read",
                of(self.n_cut)
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_out_of_the_ordinary_is_said() {
        let mut notes = Notes::default();
        notes.add(&Reading::default());
        assert!(notes.lines().is_empty());
        notes.add(&Reading { unknown_share: Some(0.5), dropped_tokens: 3, ..Reading::default() });
        notes.add(&Reading { unknown_share: Some(0.9), ..Reading::default() });
        let lines = notes.lines();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains("2 of 3 texts") && lines[0].contains("50 % of text 2"), "{}", lines[0]);
        assert!(lines[1].contains("1 of 3 texts"), "{}", lines[1]);
    }
}
