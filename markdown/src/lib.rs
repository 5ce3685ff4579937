//! Markdown as a flat list of events that a page makes elements of. `pulldown-cmark` does the reading. Holds no HTML and judges no
//! address: which elements and links there may be, the page decides.

use pulldown_cmark::{Alignment, CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen::prelude::wasm_bindgen;

/// Elements inside each other. What is deeper stands flat in the last of them: browsers lay out by recursion.
const MAX_DEPTH: usize = 32;

/// Characters of a code block's language.
const MAX_LANGUAGE: usize = 32;

const OPTIONS: Options = Options::ENABLE_TABLES.union(Options::ENABLE_STRIKETHROUGH).union(Options::ENABLE_TASKLISTS);

/// The events of a text, in order: `+NAME` or `+NAME VALUE` begins an element, `-` ends it, `.TEXT` is a text in it. Names are HTML's;
/// values are a link's address (`a`), a code block's language (`pre`), a list's first number (`ol`) and a cell's alignment (`th`, `td`).
///
/// Once in the list stands `|N`: whatever text follows, the blocks before it stay as they are, and they take the first N UTF-16 units of
/// `text`. So who reads a text that grows may go on with the rest of it. (A link's address that is defined elsewhere is found only
/// where both are read at once.)
#[cfg_attr(target_arch = "wasm32", wasm_bindgen)]
#[must_use]
pub fn events(text: &str) -> Vec<String> {
    let n_settled = settled(text);
    let mark = format!("|{}", text[..n_settled].encode_utf16().count());
    let mut writer = Writer::default();
    let mut is_marked = false;
    for (event, range) in Parser::new_ext(text, OPTIONS).into_offset_iter() {
        if !is_marked && writer.open.is_empty() && range.start >= n_settled {
            writer.events.push(mark.clone());
            is_marked = true;
        }
        writer.write(event);
    }
    if !is_marked {
        writer.events.push(mark);
    }
    writer.events
}

/// Bytes of `text` up to the last block that begins on a whole line. A line that is still growing may yet turn out to belong to the
/// block before it.
fn settled(text: &str) -> usize {
    let whole = &text[..line_start(text, text.len())];
    let mut depth = 0;
    let mut last = 0;
    for (event, range) in Parser::new_ext(whole, OPTIONS).into_offset_iter() {
        if depth == 0 {
            last = range.start;
        }
        match event {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth -= 1,
            _ => {}
        }
    }
    // A block's indentation is part of what it means.
    line_start(whole, last)
}

/// Where the line begins that the byte `at` stands on.
fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |end| end + 1)
}

/// What an end closes.
#[derive(PartialEq)]
enum Open {
    Element,
    Link,
    /// Left out: too deep, or a link inside another.
    Nothing,
}

#[derive(Default)]
struct Writer {
    events: Vec<String>,
    open: Vec<Open>,
    /// Of the table's columns.
    alignments: Vec<Alignment>,
    column: usize,
    is_head: bool,
}

impl Writer {
    fn write(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.text(&text),
            Event::Code(text) => {
                self.begin("code", Open::Element);
                self.text(&text);
                self.close();
            }
            Event::SoftBreak | Event::HardBreak => self.text("\n"),
            Event::Rule => {
                self.begin("hr", Open::Element);
                self.close();
            }
            Event::TaskListMarker(is_done) => self.text(if is_done { "☑ " } else { "☐ " }),
            // Not asked for in OPTIONS.
            Event::FootnoteReference(_) | Event::InlineMath(_) | Event::DisplayMath(_) => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph | Tag::HtmlBlock => self.begin("p", Open::Element),
            Tag::Heading { level, .. } => self.begin(heading(level), Open::Element),
            Tag::BlockQuote(_) => self.begin("blockquote", Open::Element),
            Tag::CodeBlock(kind) => self.begin(format!("pre {}", language(&kind)).trim_end(), Open::Element),
            Tag::List(None) => self.begin("ul", Open::Element),
            Tag::List(Some(first)) => self.begin(&format!("ol {first}"), Open::Element),
            Tag::Item => self.begin("li", Open::Element),
            Tag::Table(alignments) => {
                self.alignments = alignments;
                self.begin("table", Open::Element);
            }
            Tag::TableHead => {
                self.is_head = true;
                self.begin("thead", Open::Element);
                self.row();
            }
            Tag::TableRow => self.row(),
            Tag::TableCell => self.cell(),
            Tag::Emphasis => self.begin("em", Open::Element),
            Tag::Strong => self.begin("strong", Open::Element),
            Tag::Strikethrough => self.begin("del", Open::Element),
            // An image is its words with its address as a link, for a page that fetches nothing.
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } if !self.open.contains(&Open::Link) => {
                self.begin(&format!("a {dest_url}"), Open::Link);
            }
            _ => self.open.push(Open::Nothing),
        }
    }

    fn end(&mut self, tag: TagEnd) {
        self.close();
        match tag {
            // Beside the row, the head ends; beside the body, the table.
            TagEnd::TableHead => {
                self.close();
                self.is_head = false;
                self.begin("tbody", Open::Element);
            }
            TagEnd::Table => self.close(),
            _ => {}
        }
    }

    fn row(&mut self) {
        self.column = 0;
        self.begin("tr", Open::Element);
    }

    fn cell(&mut self) {
        let name = if self.is_head { "th" } else { "td" };
        let alignment = match self.alignments.get(self.column) {
            None | Some(Alignment::None | Alignment::Left) => "",
            Some(Alignment::Center) => " center",
            Some(Alignment::Right) => " right",
        };
        self.column += 1;
        self.begin(&format!("{name}{alignment}"), Open::Element);
    }

    fn begin(&mut self, element: &str, open: Open) {
        if self.open.len() >= MAX_DEPTH {
            self.open.push(Open::Nothing);
            return;
        }
        self.events.push(format!("+{element}"));
        self.open.push(open);
    }

    fn close(&mut self) {
        if self.open.pop().is_some_and(|open| open != Open::Nothing) {
            self.events.push("-".to_owned());
        }
    }

    /// Neighbouring texts become one.
    fn text(&mut self, text: &str) {
        match self.events.last_mut() {
            Some(last) if last.starts_with('.') => last.push_str(text),
            _ => self.events.push(format!(".{text}")),
        }
    }
}

fn heading(level: HeadingLevel) -> &'static str {
    match level {
        HeadingLevel::H1 => "h1",
        HeadingLevel::H2 => "h2",
        HeadingLevel::H3 => "h3",
        HeadingLevel::H4 => "h4",
        HeadingLevel::H5 => "h5",
        HeadingLevel::H6 => "h6",
    }
}

/// The first word behind the fence.
fn language(kind: &CodeBlockKind<'_>) -> String {
    match kind {
        CodeBlockKind::Indented => String::new(),
        CodeBlockKind::Fenced(info) => {
            let word = info.split([' ', ',', '\t', '{']).next().unwrap_or_default();
            word.chars().take(MAX_LANGUAGE).collect()
        }
    }
}

#[cfg(test)]
mod markdown_tests {
    use super::*;
    use proptest::prelude::*;

    /// The events without the mark.
    fn whole(text: &str) -> Vec<String> {
        events(text).into_iter().filter(|event| !event.starts_with('|')).collect()
    }

    fn line(text: &str) -> String {
        whole(text).join(" ")
    }

    #[test]
    fn blocks_become_elements() {
        assert_eq!(line("# One *two*"), "+h1 .One  +em .two - -");
        assert_eq!(line("a\nb  \nc"), "+p .a\nb\nc -");
        assert_eq!(line("3. x\n4. y"), "+ol 3 +li .x - +li .y - -");
        assert_eq!(line("- [x] done\n- [ ] open"), "+ul +li .☑ done - +li .☐ open - -");
        assert_eq!(line("> q\n\n---"), "+blockquote +p .q - - +hr -");
        assert_eq!(line("```rust,ignore\nfn f() {}\n```"), "+pre rust .fn f() {}\n -");
        assert_eq!(line("    indented"), "+pre .indented -");
        assert_eq!(line("`a` **b** ~~c~~"), "+p +code .a - .  +strong .b - .  +del .c - -");
    }

    #[test]
    fn a_table_has_a_head_a_body_and_alignments() {
        let events = line("| a | b |\n|---|--:|\n| 1 | 2 |");
        assert_eq!(events, "+table +thead +tr +th .a - +th right .b - - - +tbody +tr +td .1 - +td right .2 - - - -");
    }

    #[test]
    fn html_stays_text_and_images_become_links() {
        assert_eq!(line("<b>x</b>"), "+p .<b>x</b> -");
        assert_eq!(line("<script>\nalert(1)\n</script>"), "+p .<script>\nalert(1)\n</script> -");
        assert_eq!(line("![cat](http://x/y.png)"), "+p +a http://x/y.png .cat - -");
        assert_eq!(line("[![cat](http://x/y.png)](http://z)"), "+p +a http://z .cat - -");
    }

    #[test]
    fn what_is_too_deep_stands_flat() {
        let events = whole(&format!("{} deep", ">".repeat(1000)));
        let n_opened = events.iter().filter(|event| event.starts_with('+')).count();
        assert_eq!(n_opened, MAX_DEPTH);
        assert_eq!(events.iter().filter(|event| *event == "-").count(), MAX_DEPTH);
        assert!(events.contains(&".deep".to_owned()));
    }

    #[test]
    fn the_mark_counts_as_javascript_does() {
        assert_eq!(events("𝄞é\n\nnext\n"), ["+p", ".𝄞é", "-", "|5", "+p", ".next", "-"]);
        assert_eq!(events(""), ["|0"]);
    }

    /// What a page has that reads a text as it grows by `step` characters, and goes on from the mark each time.
    fn streamed(text: &str, step: usize) -> Vec<String> {
        let mut done = Vec::new();
        let mut rest = String::new();
        let characters: Vec<char> = text.chars().collect();
        for piece in characters.chunks(step) {
            rest.extend(piece);
            let events = events(&rest);
            let at = events.iter().position(|event| event.starts_with('|')).unwrap();
            let n_units: usize = events[at][1..].parse().unwrap();
            done.extend_from_slice(&events[..at]);
            let units: Vec<u16> = rest.encode_utf16().skip(n_units).collect();
            rest = String::from_utf16(&units).unwrap();
        }
        done.extend(whole(&rest));
        done
    }

    #[test]
    fn a_line_that_grows_can_join_the_block_before_it() {
        for text in [
            "para\n#tag",
            "para\n```not",
            "a | b\n-|-x",
            "x\na | b\n-|-x",
            "- a\n\n  b\n- c",
            "  - a\n  - b",
            "para\n===",
        ] {
            assert_eq!(streamed(text, 1), whole(text), "{text:?}");
        }
    }

    #[test]
    fn most_of_a_long_text_is_settled() {
        let text = "A paragraph.\n\n".repeat(1000);
        let events = events(&text);
        assert_eq!(events[events.len() - 4], format!("|{}", text.len() - 14));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn growing_texts_give_the_events_of_whole_ones(
            parts in prop::collection::vec(prop::sample::select(vec![
                "a", "b c", " ", "  ", "    ", "\n", "\n\n", "- ", "* ", "1. ", "2) ", "> ", "# ", "## ", "```", "~~~", "`", "*", "**",
                "_", "|", "|-|-|", "| a | b |", "---", "===", "<b>", "<div>", "</div>", "<!--", "-->", "[a](b)", "![a](b)", "\\", "&amp;",
                "\t", "é", "𝄞", "- [ ] ", "\r\n", "~~",
            ]), 0..24),
            step in 1usize..5,
        ) {
            let text = parts.concat();
            prop_assert_eq!(streamed(&text, step), whole(&text));
        }

        #[test]
        fn ends_match_beginnings(text in ".{0,200}") {
            let mut depth = 0i32;
            for event in whole(&text) {
                depth += match event.as_bytes()[0] { b'+' => 1, b'-' => -1, _ => 0 };
                prop_assert!(depth >= 0);
            }
            prop_assert_eq!(depth, 0);
        }
    }
}
