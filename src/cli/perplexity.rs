//! `trice perplexity`: how well a model predicts the documents of a file.

use super::args::PerplexityArgs;
use super::context::{Context, Output};
use super::interrupt::Interrupt;
use super::progress::Bar;
use super::texts::read_file;
use super::{Usage, model};
use serde::Serialize;
use trice::session::{Perplexity, Session};

/// What `perplexity --json` prints.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    #[serde(flatten)]
    result: Perplexity,
}

pub(crate) fn run(context: &Context, args: PerplexityArgs) -> anyhow::Result<()> {
    let text = read_file(&args.file)?;
    let documents = split(&text, args.separator.as_deref(), args.max_docs.map_or(usize::MAX, |n| n as usize));
    let interrupt = Interrupt::install()?;
    pollster::block_on(async {
        let mut session = model::load_session(context, &args.model, &args.load, &interrupt).await?;
        let result = measure(context, &mut session, &documents, args.stride.map(|n| n as usize), &interrupt).await?;
        let model = session.info().name.as_str();
        match context.output {
            Output::Json => context.print_json(&Report { model, result }),
            Output::Text => {
                context.print(&format!("perplexity {:.4} over {} tokens", result.perplexity, result.tokens))
            }
        }
    })
}

/// The first `max_docs` documents, stripped.
pub(crate) fn split<'a>(text: &'a str, separator: Option<&str>, max_docs: usize) -> Vec<&'a str> {
    let documents: Vec<&str> = match separator {
        Some(separator) if !separator.is_empty() => text.split(separator).take(max_docs).collect(),
        _ => vec![text],
    };
    documents.into_iter().map(str::trim).filter(|document| !document.is_empty()).collect()
}

/// The perplexity of the documents, each cut at the context, or with a `stride` read in windows of it.
pub(crate) async fn measure(
    context: &Context,
    session: &mut Session,
    documents: &[&str],
    stride: Option<usize>,
    interrupt: &Interrupt,
) -> anyhow::Result<Perplexity> {
    let cancel = interrupt.arm();
    let bar = Bar::new(context);
    let context_len = session.info().context_len;
    if let Some(stride) = stride.filter(|stride| *stride >= context_len) {
        let message =
            format!("--stride {stride} leaves tokens out: it must be below the context, {context_len} tokens");
        return Err(Usage(message).into());
    }
    let (mut tokens, mut sum_nll) = (0, 0.0);
    for (i, document) in documents.iter().enumerate() {
        cancel.check()?;
        bar.count("Documents", i as u64, documents.len() as u64);
        let ids = session.tokenizer().encode_document(document)?;
        for Window { ids, n_known } in windows(&ids, context_len, stride) {
            cancel.check()?;
            let scores = session.log_likelihood(&ids[..n_known], &ids[n_known..]).await?;
            sum_nll -= scores.iter().map(|score| f64::from(*score)).sum::<f64>();
            tokens += scores.len() as u64;
        }
    }
    if tokens == 0 {
        return Err(trice::Error::invalid("no document holds a token to predict").into());
    }
    Ok(Perplexity { tokens, sum_nll, perplexity: (sum_nll / tokens as f64).exp() })
}

/// A part of a document that is read at once.
#[derive(Debug, PartialEq, Eq)]
struct Window<'a> {
    ids: &'a [u32],
    /// Those at its beginning that are only read, not predicted: the first token, or what a window before it has predicted.
    n_known: usize,
}

/// What is read of a document: its beginning, or with a `stride`, which is below `len`, all of it.
fn windows(ids: &[u32], len: usize, stride: Option<usize>) -> impl Iterator<Item = Window<'_>> {
    let ids = if stride.is_some() { ids } else { &ids[..ids.len().min(len)] };
    // Up to where tokens are predicted: the first never is.
    let mut predicted = 1;
    let mut begin = 0;
    std::iter::from_fn(move || {
        let end = ids.len().min(begin + len);
        if predicted >= end {
            return None;
        }
        let window = Window { ids: &ids[begin..end], n_known: predicted - begin };
        predicted = end;
        begin += stride.unwrap_or(len);
        Some(window)
    })
}

#[cfg(test)]
mod tests {
    use super::{Window, split, windows};

    #[test]
    fn windows_predict_each_token_once() {
        let ids: Vec<u32> = (0..10).collect();
        let all = |len, stride| windows(&ids, len, stride).collect::<Vec<_>>();
        assert_eq!(all(20, None), [Window { ids: &ids, n_known: 1 }]);
        assert_eq!(all(4, None), [Window { ids: &ids[..4], n_known: 1 }]);
        assert_eq!(all(20, Some(3)), [Window { ids: &ids, n_known: 1 }]);
        let strided = [(0..4, 1), (3..7, 1), (6..10, 1)].map(|(range, n_known)| Window { ids: &ids[range], n_known });
        assert_eq!(all(4, Some(3)), strided);
        let strided = [(0..6, 1), (2..8, 4), (4..10, 4)].map(|(range, n_known)| Window { ids: &ids[range], n_known });
        assert_eq!(all(6, Some(2)), strided);
        assert_eq!(windows(&ids[..1], 4, Some(3)).count(), 0);
        assert_eq!(windows(&[], 4, None).count(), 0);
    }

    #[test]
    fn documents_are_counted_before_empty_ones_are_dropped() {
        assert_eq!(split("a <|e|> <|e|>\nb\n<|e|>c", Some("<|e|>"), 3), ["a", "b"]);
    }

    #[test]
    fn without_a_separator_the_file_is_one_document() {
        assert_eq!(split(" a b \n", None, 5), ["a b"]);
        assert_eq!(split(" a b \n", Some(""), 5), ["a b"]);
    }
}
