//! Shaders without their comments, which say nothing to a compiler: a page has fewer bytes to fetch.

/// `shaders/NAME.wgsl` without comments.
macro_rules! wgsl {
    ($name:expr) => {{
        const SOURCE: &[u8] = include_bytes!(concat!("../../shaders/", $name, ".wgsl"));
        const N_BYTES: usize = $crate::gpu::wgsl::without_comments::<{ SOURCE.len() }>(SOURCE).1;
        const TEXT: [u8; N_BYTES] = $crate::gpu::wgsl::without_comments::<N_BYTES>(SOURCE).0;
        match std::str::from_utf8(&TEXT) {
            Ok(text) => text,
            Err(_) => panic!("a shader is not UTF-8"),
        }
    }};
}
pub(crate) use wgsl;

/// A text without what stands behind `//`, and without lines that hold nothing else; how many bytes that are, too.
pub(crate) const fn without_comments<const N: usize>(source: &[u8]) -> ([u8; N], usize) {
    let mut text = [0; N];
    let (mut n, mut at) = (0, 0);
    while at < source.len() {
        // A line, up to its comment and up to its end.
        let mut code = at;
        while code < source.len() && source[code] != b'\n' && !begins_comment(source, code) {
            code += 1;
        }
        let mut end = code;
        while end < source.len() && source[end] != b'\n' {
            end += 1;
        }
        while code > at && source[code - 1] == b' ' {
            code -= 1;
        }
        let is_kept = code > at;
        while at < code {
            text[n] = source[at];
            (n, at) = (n + 1, at + 1);
        }
        if is_kept {
            text[n] = b'\n';
            n += 1;
        }
        at = end + 1;
    }
    (text, n)
}

const fn begins_comment(source: &[u8], at: usize) -> bool {
    source[at] == b'/' && at + 1 < source.len() && source[at + 1] == b'/'
}

#[cfg(test)]
mod tests {
    use super::without_comments;

    #[test]
    fn comments_and_empty_lines_go() {
        let source = b"// What it is.\n\nlet a = b / c; // why\n  // more\n#import grid\n    d();\n";
        let (text, n) = without_comments::<{ 1 << 7 }>(source);
        assert_eq!(&text[..n], b"let a = b / c;\n#import grid\n    d();\n");
    }
}
