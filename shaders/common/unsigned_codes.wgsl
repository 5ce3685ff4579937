// Codes as unsigned bytes: a word of four per row.
fn codes4(w: Codes, j: u32) -> Quad {
    let words = packed4(w, j);
    return Quad(bytes4(words.x), bytes4(words.y), bytes4(words.z), bytes4(words.w));
}
