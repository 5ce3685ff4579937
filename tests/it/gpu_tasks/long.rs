//! Texts longer than the context, and texts of unknown tokens: what is said of them, and that windows are what one does by hand.

use crate::common::gpu::{block_on, test_gpu};
use crate::common::toy::Toy;
use trice::Error;
use trice::session::LoadOptions;
use trice::tasks::{ClassifyOptions, EmbedOptions, Long, TextEncoder};

fn encoder(toy: &Toy) -> Option<TextEncoder> {
    let gpu = test_gpu()?;
    Some(block_on(TextEncoder::load(&gpu, &toy.open(), &LoadOptions::default(), &mut |_| {})).unwrap())
}

/// A text of three windows and a bit, and its windows as texts.
fn long_text(encoder: &TextEncoder) -> (String, Vec<String>) {
    let letters = ["a", "b", "c"];
    let room = encoder.info().context_len - 2;
    let words: Vec<&str> = (0..3 * room + 5).map(|i| letters[i * i % 3]).collect();
    (words.join(" "), words.chunks(room).map(|window| window.join(" ")).collect())
}

#[test]
fn a_long_text_is_cut_or_read_in_windows_and_says_so() {
    let Some(mut encoder) = encoder(&Toy::classifier(3)) else { return };
    let (text, windows) = long_text(&encoder);
    let classify = |encoder: &mut TextEncoder, text: &str, long| {
        let options = ClassifyOptions { long, ..ClassifyOptions::default() };
        block_on(encoder.classify(&[text], &options)).unwrap().swap_remove(0)
    };
    let short = classify(&mut encoder, "a b c", Long::Truncate);
    assert_eq!((short.reading.dropped_tokens, short.reading.windows), (0, None));
    let cut = classify(&mut encoder, &text, Long::Truncate);
    let room = encoder.info().context_len - 2;
    assert_eq!((cut.reading.dropped_tokens, cut.reading.windows), (2 * room + 5, None));
    assert_eq!(cut.labels, classify(&mut encoder, &windows[0], Long::Truncate).labels);

    let whole = classify(&mut encoder, &text, Long::Windows);
    assert_eq!((whole.reading.dropped_tokens, whole.reading.windows), (0, Some(4)));
    let parts: Vec<_> = windows.iter().map(|window| classify(&mut encoder, window, Long::Truncate)).collect();
    let n_tokens: usize = parts.iter().map(|part| part.reading.tokens).sum();
    assert_eq!(whole.reading.tokens, n_tokens);
    for label in &whole.labels {
        let of = |part: &trice::tasks::Classified| {
            part.labels.iter().find(|other| other.label == label.label).unwrap().score
        };
        let mean: f32 = parts.iter().map(|part| of(part) * part.reading.tokens as f32).sum::<f32>() / n_tokens as f32;
        assert!((label.score - mean).abs() < 1e-6, "{label:?}: {mean} was wanted");
    }
}

#[test]
fn vectors_of_windows_have_length_1_where_that_is_asked_for() {
    let Some(mut encoder) = encoder(&Toy::bert()) else { return };
    let (text, _) = long_text(&encoder);
    let options = EmbedOptions { normalize: true, long: Long::Windows, ..EmbedOptions::default() };
    let embedded = block_on(encoder.embed_texts(&[&text, "a b"], &options)).unwrap();
    assert_eq!((embedded[0].reading.windows, embedded[1].reading.windows), (Some(4), None));
    for text in &embedded {
        let length: f32 = text.embedding.iter().map(|value| value * value).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
    }
}

#[test]
fn a_text_of_unknown_tokens_says_so() {
    let Some(mut encoder) = encoder(&Toy::classifier(2)) else { return };
    let texts = ["a b c a", "a b 中 c", "a b c 中 a"];
    let found = block_on(encoder.classify(&texts, &ClassifyOptions::default())).unwrap();
    let shares: Vec<_> = found.iter().map(|text| text.reading.unknown_share).collect();
    assert_eq!(shares, [None, Some(0.25), None], "a fifth is not too much");
}

#[test]
fn a_head_of_one_kind_refuses_the_tasks_of_others() {
    let Some(mut encoder) = encoder(&Toy::classifier(2)) else { return };
    let tagged = block_on(encoder.tag(&["a b"], &Default::default())).map(drop);
    let answered = block_on(encoder.answer("a", "b c", &Default::default())).map(drop);
    let filled = block_on(encoder.fill(&["a"], &Default::default())).map(drop);
    for refused in [tagged, answered, filled] {
        assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
    }
    assert!(matches!(block_on(encoder.rank(" ", &["a"])), Err(Error::Invalid { .. })));
}
