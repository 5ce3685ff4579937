#import code_book
// What the codes of IQ4_NL and IQ4_XS stand for.
const BOOK_0 = vec4<i32>(-127, -104, -83, -65);
const BOOK_1 = vec4<i32>(-49, -35, -22, -10);
const BOOK_2 = vec4<i32>(1, 13, 25, 38);
const BOOK_3 = vec4<i32>(53, 69, 89, 113);
