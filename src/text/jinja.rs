//! The language of chat templates: Jinja as transformers sets it up. A template comes with the model and is not trusted: its
//! size, its expressions and its running are bounded. Holds no messages.

use super::python;
use crate::error::{Error, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, ErrorKind, State, Value};
use std::ops::Range;

/// Bytes of a template; the largest real ones have about 20 KB.
const MAX_TEMPLATE_BYTES: usize = 64 << 10;
/// Operators in one `{{ … }}` or `{% … %}`: the parser recurses once per chained operator without counting.
const MAX_OPERATORS: usize = 200;
/// `elif` branches in a template, for the same reason.
const MAX_ELIF: usize = 200;
/// Instructions that rendering may take.
const FUEL: u64 = 200_000;
/// Macros in macros; real ones describe a JSON schema and its parts.
const MAX_RECURSION: usize = 100;
/// Values in a value that a template keeps in a variable.
const MAX_ITEMS: usize = 100_000;
/// Lists in lists of such a value: they are dropped by recursion.
const MAX_NESTING: usize = 128;
/// Values that are looked through for one instruction's worth of fuel.
const ITEMS_PER_FUEL: usize = 16;
/// The filter that every `set` ends with.
const BOUNDED: &str = "bounded";
/// Marks the errors that a template raises itself.
pub(super) const RAISED: &str = "the model's template refuses the messages: ";

/// The environment that templates are written for; `name` is what to call the file in messages.
pub(super) fn environment(name: &str) -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    // Lines that hold only a block leave nothing behind.
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(
        syntax.map_err(|error| Error::format(name, format!("its chat template cannot be set up: {error}")))?,
    );
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(MAX_RECURSION);
    environment.set_unknown_method_callback(python::method);
    environment.add_function("raise_exception", |message: String| -> std::result::Result<String, minijinja::Error> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, format!("{RAISED}{message}")))
    });
    environment.add_filter("tojson", |state: &mut State<'_, '_>, value: Value, options: Kwargs| {
        python::to_json(state, &value, &options)
    });
    environment.add_filter(BOUNDED, |state: &mut State<'_, '_>, value: Value| bounded(state, value));
    // A text and a mapping are sequences to Jinja.
    environment.add_test("sequence", |value: Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::String | ValueKind::Map)
    });
    Ok(environment)
}

/// Adds a template under `key`.
pub(super) fn add(environment: &mut Environment<'static>, key: &'static str, source: &str, name: &str) -> Result<()> {
    check(source, name)?;
    environment
        .add_template_owned(key, rewritten(source))
        .map_err(|error| Error::format(name, format!("its chat template does not compile: {error}")))
}

/// The value, if it is small enough to keep: lists can be doubled, and put into each other, without taking any fuel.
pub(super) fn bounded(state: &State<'_, '_>, value: Value) -> std::result::Result<Value, minijinja::Error> {
    let mut n_items = 0;
    count_items(&value, 0, &mut n_items)?;
    state.consume_fuel((n_items / ITEMS_PER_FUEL) as u64)?;
    Ok(value)
}

fn count_items(value: &Value, depth: usize, n_items: &mut usize) -> std::result::Result<(), minijinja::Error> {
    *n_items += 1;
    if depth > MAX_NESTING || *n_items > MAX_ITEMS {
        let what = format!("a value of more than {MAX_ITEMS} items or {MAX_NESTING} lists in lists");
        return Err(minijinja::Error::new(ErrorKind::InvalidOperation, what));
    }
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            value.try_iter()?.try_for_each(|item| count_items(&item, depth + 1, n_items))
        }
        ValueKind::Map => value.try_iter()?.try_for_each(|key| count_items(&value.get_item(&key)?, depth + 1, n_items)),
        _ => Ok(()),
    }
}

/// The template with two kinds of statements in other words: `{% generation %}`, which marks what a model is trained on and
/// to a prompt is a scope and nothing more, and `{% set x = … %}`, whose value is bounded.
fn rewritten(source: &str) -> String {
    let (mut text, mut written) = (String::with_capacity(source.len()), 0);
    for block in blocks(source) {
        text.push_str(&source[written..block.start]);
        match source[..block.start].ends_with("{%") {
            true => text.push_str(&rewritten_statement(&source[block.clone()])),
            false => text.push_str(&source[block.clone()]),
        }
        written = block.end;
    }
    text.push_str(&source[written..]);
    text
}

fn rewritten_statement(block: &str) -> String {
    let is_sign = |character: &char| ['-', '+'].contains(character);
    let open = block.chars().next().filter(is_sign).map_or("", |_| &block[..1]);
    let close = block.chars().last().filter(is_sign).map_or("", |_| &block[block.len() - 1..]);
    let statement = block.trim_matches(['-', '+']).trim();
    let assigned = statement.strip_prefix("set").and_then(|rest| rest.split_once('='));
    let is_target = |character: char| character.is_alphanumeric() || "_., \t\r\n".contains(character);
    let assigned =
        assigned.filter(|(target, _)| target.starts_with(char::is_whitespace) && target.chars().all(is_target));
    match (statement, assigned) {
        ("generation", _) => format!("{open} with {close}"),
        ("endgeneration", _) => format!("{open} endwith {close}"),
        (_, Some((target, value))) => format!("{open} set{target}= ({value}) | {BOUNDED} {close}"),
        _ => block.to_owned(),
    }
}

/// Refuses templates that would overflow the stack of the parser, by counting what it does not count.
fn check(source: &str, name: &str) -> Result<()> {
    if source.len() > MAX_TEMPLATE_BYTES {
        return Err(Error::Limit {
            what: format!("{name}: bytes of a chat template"),
            needed: source.len() as u64,
            available: MAX_TEMPLATE_BYTES as u64,
        });
    }
    let mut n_elif = 0;
    for block in blocks(source) {
        let (n_operators, _) = scan_block(&source[block.start..]);
        n_elif += usize::from(keyword(&source[block]) == "elif");
        if n_operators > MAX_OPERATORS || n_elif > MAX_ELIF {
            let reason = format!("its chat template chains more than {MAX_OPERATORS} operators or branches");
            return Err(Error::format(name, reason));
        }
    }
    Ok(())
}

/// What stands between the marks of every `{{ … }}` and `{% … %}` outside of comments and raw text.
fn blocks(source: &str) -> Vec<Range<usize>> {
    let (mut blocks, mut at) = (Vec::new(), 0);
    while let Some(open) = ["{{", "{%", "{#"].iter().filter_map(|mark| source[at..].find(mark)).min() {
        let start = at + open + 2;
        if source[..start].ends_with('#') {
            at = source[start..].find("#}").map_or(source.len(), |end| start + end);
            continue;
        }
        let (_, len) = scan_block(&source[start..]);
        let block = start..start + len;
        at = match keyword(&source[block.clone()]) {
            "raw" if source[..start].ends_with('%') => {
                source[block.end..].find("endraw").map_or(source.len(), |end| block.end + end)
            }
            _ => block.end,
        };
        blocks.push(block);
    }
    blocks
}

/// The word that a statement begins with.
fn keyword(block: &str) -> &str {
    let block = block.trim_start_matches(['-', '+']).trim_start();
    let end = block.find(|character: char| !character.is_alphanumeric() && character != '_');
    &block[..end.unwrap_or(block.len())]
}

/// Operators outside texts up to the end of the block, and where it ends: as for minijinja, at a mark outside of brackets.
fn scan_block(block: &str) -> (usize, usize) {
    let bytes = block.as_bytes();
    let (mut n_operators, mut at, mut quote, mut depth) = (0, 0, None, 0usize);
    while at < bytes.len() {
        let byte = bytes[at];
        match quote {
            Some(_) if byte == b'\\' => at += 1,
            Some(mark) if byte == mark => quote = None,
            Some(_) => {}
            None if depth == 0 && (bytes[at..].starts_with(b"}}") || bytes[at..].starts_with(b"%}")) => break,
            None if byte == b'\'' || byte == b'"' => quote = Some(byte),
            None if b"-+*/%~|.[(<>=!".contains(&byte) => n_operators += 1,
            None if is_word_operator(bytes, at) => n_operators += 1,
            None => {}
        }
        match byte {
            _ if quote.is_some() => {}
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    let mut end = at.min(bytes.len());
    while !block.is_char_boundary(end) {
        end += 1;
    }
    (n_operators, end)
}

/// Whether `not`, `and`, `or`, `is`, `in` or `if` stands at `at` as a word.
fn is_word_operator(bytes: &[u8], at: usize) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    if at > 0 && is_word(&bytes[at - 1]) {
        return false;
    }
    ["not", "and", "or", "is", "in", "if"]
        .iter()
        .any(|word| bytes[at..].starts_with(word.as_bytes()) && !bytes.get(at + word.len()).is_some_and(is_word))
}
