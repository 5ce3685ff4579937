//! `trice perplexity`: how well a model predicts the documents of a file.

use super::args::PerplexityArgs;
use super::context::{Context, Output};
use super::interrupt::Interrupt;
use super::model;
use super::progress::Bar;
use super::texts::read_file;
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
        let result = measure(context, &mut session, &documents, &interrupt).await?;
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

/// The perplexity of the documents, each cut at the context.
pub(crate) async fn measure(
    context: &Context,
    session: &mut Session,
    documents: &[&str],
    interrupt: &Interrupt,
) -> anyhow::Result<Perplexity> {
    let cancel = interrupt.arm();
    let bar = Bar::new(context);
    let context_len = session.info().context_len;
    let (mut tokens, mut sum_nll) = (0, 0.0);
    for (i, document) in documents.iter().enumerate() {
        cancel.check()?;
        bar.count("Documents", i as u64, documents.len() as u64);
        let mut ids = session.tokenizer().encode_document(document)?;
        ids.truncate(context_len);
        if ids.len() < 2 {
            continue;
        }
        sum_nll += session.nll(&ids).await?;
        tokens += ids.len() as u64 - 1;
    }
    if tokens == 0 {
        return Err(trice::Error::invalid("no document holds a token to predict").into());
    }
    Ok(Perplexity { tokens, sum_nll, perplexity: (sum_nll / tokens as f64).exp() })
}

#[cfg(test)]
mod tests {
    use super::split;

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
