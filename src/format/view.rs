//! Tensors that a folder stores otherwise than as rows of their own: transposed, or as some rows of a larger one.

/// Where a tensor's rows stand in its region of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// One after the other.
    #[default]
    AsFiled,
    /// They are the columns of what is stored, as inputs first, outputs second (GPT-2).
    Transposed,
    /// Every `of`-th block of `len` rows, from block `at` on: a query, key or value of each head in turn (GPT-NeoX).
    Blocks {
        /// Rows of a block.
        len: u64,
        /// Blocks from one to the next.
        of: u64,
        /// The first.
        at: u64,
    },
    /// In each head of `len` rows those of its first half and of its second half by turns: Hugging Face's order as GGUF's.
    Interleaved {
        /// Rows of a head, an even number.
        len: u64,
    },
}

impl View {
    /// Runs of rows of the file that hold rows `first..first + n`: first row and number.
    pub fn runs(self, first: u64, n: u64) -> Vec<(u64, u64)> {
        let (len, of, at) = match self {
            Self::AsFiled | Self::Transposed => return vec![(first, n)],
            Self::Interleaved { len } => {
                let filed = |row: u64| row / len * len + row % len % 2 * (len / 2) + row % len / 2;
                return (first..first + n).map(|row| (filed(row), 1)).collect();
            }
            Self::Blocks { len, of, at } => (len, of, at),
        };
        let mut runs = Vec::new();
        let mut row = first;
        while row < first + n {
            let within = row % len;
            let run = (len - within).min(first + n - row);
            runs.push(((row / len * of + at) * len + within, run));
            row += run;
        }
        runs
    }
}

/// Columns `first..first + n` of `stored`, a matrix of rows of `width` values of `value_bytes`, as rows.
pub fn columns_as_rows(stored: &[u8], value_bytes: usize, width: usize, first: usize, n: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(stored.len() / width.max(1) * n);
    for column in first..first + n {
        for row in stored.chunks_exact(width * value_bytes) {
            out.extend_from_slice(&row[column * value_bytes..][..value_bytes]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_where_they_stand() {
        // Rows of 2 heads of 3 values: q0 k0 v0 q1 k1 v1. The keys:
        let keys = View::Blocks { len: 3, of: 3, at: 1 };
        assert_eq!(keys.runs(0, 6), [(3, 3), (12, 3)]);
        assert_eq!(keys.runs(1, 3), [(4, 2), (12, 1)]);
        assert_eq!(View::AsFiled.runs(4, 2), [(4, 2)]);
        let by_turns = View::Interleaved { len: 4 };
        assert_eq!(by_turns.runs(0, 6), [(0, 1), (2, 1), (1, 1), (3, 1), (4, 1), (6, 1)]);
    }

    #[test]
    fn columns_become_rows() {
        // 2 rows of 3 values of 2 bytes.
        let stored = [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6];
        assert_eq!(columns_as_rows(&stored, 2, 3, 1, 2), [2, 2, 5, 5, 3, 3, 6, 6]);
    }
}
