// Codes as signed bytes: a word of four per row.
fn codes4(w: Codes, j: u32) -> Quad {
    let words = packed4(w, j);
    return Quad(signed_bytes4(words.x), signed_bytes4(words.y), signed_bytes4(words.z), signed_bytes4(words.w));
}
