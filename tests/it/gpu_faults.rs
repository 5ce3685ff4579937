//! What goes wrong while a good model runs: bad requests, ends of the context, cancelling, a lost device, outputs that are
//! no numbers. Each gives one error or the right reason to end, and what follows is right again.

use crate::common::gpu::{block_on, open_bytes, test_gpu};
use crate::common::reference::noise;
use crate::common::toy::{CONTEXT, DIM, Toy, decoder_tokens};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;
use trice::gpu::Gpu;
use trice::session::{Cancel, FinishReason, GenerateOptions, Generation, LoadOptions, Piece, Session, Stage};
use trice::tasks::{ClassifyOptions, Scaling, TextEncoder};
use trice::{Error, Result};

/// Long enough for the slowest driver; only a hang reaches it.
const HANG: Duration = Duration::from_secs(300);

const PROMPT: [u32; 5] = [72, 101, 108, 108, 111];

fn load(gpu: &Rc<Gpu>) -> Session {
    block_on(Session::load(gpu, &Toy::llama().open(), &LoadOptions::default(), &mut |_| {})).unwrap()
}

fn encoder(gpu: &Rc<Gpu>, toy: &Toy) -> TextEncoder {
    block_on(TextEncoder::load(gpu, &toy.open(), &LoadOptions::default(), &mut |_| {})).unwrap()
}

fn greedy(max_tokens: usize) -> GenerateOptions {
    GenerateOptions { max_tokens: Some(max_tokens), ignore_end: true, ..GenerateOptions::default() }
}

fn generate(session: &mut Session, prompt: &[u32], options: &GenerateOptions) -> Result<Generation> {
    block_on(session.generate(prompt, options, &mut |_| ControlFlow::Continue(())))
}

/// Runs `body` on a thread of its own and fails when it does not end.
fn within_reason(body: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        body();
        let _ = done.send(());
    });
    if ended.recv_timeout(HANG) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("it hangs");
    }
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn gpu_prompts_that_make_no_sense_are_refused() {
    let Some(gpu) = test_gpu() else { return };
    let mut session = load(&gpu);
    let wanted = generate(&mut session, &PROMPT, &greedy(8)).unwrap().tokens;
    let n_tokens = decoder_tokens().len() as u32;
    let full = vec![65; CONTEXT as usize];
    assert!(matches!(generate(&mut session, &[], &greedy(8)), Err(Error::Invalid { .. })));
    let unknown = generate(&mut session, &[n_tokens], &greedy(8)).unwrap_err();
    assert!(matches!(&unknown, Error::Invalid { what } if what.contains("token id 259")), "{unknown}");
    let long = generate(&mut session, &full, &greedy(8)).unwrap_err();
    assert!(matches!(long, Error::Limit { needed: 65, available: 64, .. }), "{long}");
    assert!(matches!(generate(&mut session, &full.repeat(10), &greedy(8)), Err(Error::Limit { needed: 641, .. })));
    assert!(matches!(block_on(session.nll(&full.repeat(2))), Err(Error::Limit { .. })));
    assert!(matches!(block_on(session.nll(&[n_tokens, 1])), Err(Error::Invalid { .. })));
    assert!(matches!(block_on(session.next_logits(&[])), Err(Error::Invalid { .. })));
    for nonsense in [f32::NAN, -1.0, f32::INFINITY] {
        let mut options = greedy(8);
        options.sampling.temperature = nonsense;
        assert!(matches!(generate(&mut session, &PROMPT, &options), Err(Error::Invalid { .. })), "{nonsense}");
    }
    assert_eq!(generate(&mut session, &PROMPT, &greedy(8)).unwrap().tokens, wanted);
}

#[test]
fn gpu_answers_end_where_they_must() {
    let Some(gpu) = test_gpu() else { return };
    let mut session = load(&gpu);
    let none = generate(&mut session, &PROMPT, &greedy(0)).unwrap();
    assert_eq!((none.tokens.len(), none.finish_reason), (0, FinishReason::Length));
    // Nothing was read for the answer of no tokens, so nothing may be reused.
    let eight = generate(&mut session, &PROMPT, &greedy(8)).unwrap();
    assert_eq!((eight.tokens.len(), eight.finish_reason), (8, FinishReason::Length));
    session.forget();
    assert_eq!(generate(&mut session, &PROMPT, &greedy(8)).unwrap().tokens, eight.tokens);

    for max_tokens in [None, Some(1_000_000)] {
        for logprobs in [None, Some(2)] {
            let options = GenerateOptions { max_tokens, logprobs, ..greedy(0) };
            let all = generate(&mut session, &PROMPT, &options).unwrap();
            assert_eq!(all.tokens.len() + PROMPT.len(), CONTEXT as usize);
            assert_eq!(all.finish_reason, FinishReason::Length);
            assert_eq!(all.tokens[..8], eight.tokens);
        }
    }
    let last = vec![65; CONTEXT as usize - 1];
    let one = generate(&mut session, &last, &greedy(8)).unwrap();
    assert_eq!((one.tokens.len(), one.finish_reason), (1, FinishReason::Length));
}

#[test]
fn gpu_stop_texts_end_an_answer_before_them() {
    let Some(gpu) = test_gpu() else { return };
    let mut session = load(&gpu);
    let whole = generate(&mut session, &PROMPT, &greedy(32)).unwrap();
    let chars: Vec<char> = whole.text.chars().collect();
    let stop: String = chars[chars.len() / 2..chars.len() / 2 + 3].iter().collect();
    let options = GenerateOptions { stop: vec![String::new(), stop.clone(), "not there".into()], ..greedy(32) };
    let mut streamed = String::new();
    let answer = block_on(session.generate(&PROMPT, &options, &mut |piece| {
        streamed.push_str(piece.text);
        ControlFlow::Continue(())
    }))
    .unwrap();
    assert_eq!(answer.finish_reason, FinishReason::Stop);
    assert_eq!(answer.text, whole.text[..whole.text.find(&stop).unwrap()]);
    assert_eq!(streamed, answer.text);
    assert_eq!(generate(&mut session, &PROMPT, &greedy(32)).unwrap().tokens, whole.tokens);
}

#[test]
fn gpu_cancelling_leaves_the_session_good() {
    let Some(gpu) = test_gpu() else { return };
    let mut session = load(&gpu);
    let wanted = generate(&mut session, &PROMPT, &greedy(32)).unwrap().tokens;
    for logprobs in [None, Some(1)] {
        let options = GenerateOptions { logprobs, ..greedy(32) };
        let (mut n, cancel) = (0, options.cancel.clone());
        let cancelled = block_on(session.generate(&PROMPT, &options, &mut |_| {
            n += 1;
            if n == 5 {
                cancel.cancel();
            }
            ControlFlow::Continue(())
        }))
        .unwrap();
        assert_eq!(cancelled.finish_reason, FinishReason::Cancelled);
        assert_eq!(cancelled.tokens, wanted[..5]);
        let broken = block_on(session.generate(&PROMPT, &greedy(32), &mut |_| ControlFlow::Break(()))).unwrap();
        assert_eq!((broken.tokens.len(), broken.finish_reason), (1, FinishReason::Cancelled));
        let before = block_on(session.generate(&PROMPT, &options, &mut |_| ControlFlow::Continue(()))).unwrap();
        assert_eq!((before.tokens.len(), before.finish_reason), (0, FinishReason::Cancelled));
        // The next answer goes on from a prefix of the cancelled one, and begins anew.
        let longer: Vec<u32> = PROMPT.iter().chain(&wanted[..8]).copied().collect();
        assert_eq!(generate(&mut session, &longer, &greedy(24)).unwrap().tokens, wanted[8..]);
        assert_eq!(generate(&mut session, &PROMPT, &greedy(32)).unwrap().tokens, wanted);
    }
}

#[test]
fn gpu_a_cancelled_encoder_works_again_with_a_fresh_flag() {
    let Some(gpu) = test_gpu() else { return };
    let mut encoder = encoder(&gpu, &Toy::classifier(2));
    let wanted = block_on(encoder.embed(&["a b c"], None, Scaling::Unit)).unwrap();
    let cancel = Cancel::default();
    encoder.set_cancel(cancel.clone());
    assert_eq!(block_on(encoder.embed(&["a b c"], None, Scaling::Unit)).unwrap(), wanted);
    cancel.cancel();
    let embedded = block_on(encoder.embed(&["a b c"], None, Scaling::Unit));
    assert!(matches!(embedded, Err(Error::Cancelled)), "{embedded:?}");
    let classified = block_on(encoder.classify(&["a b c"], &ClassifyOptions::default()));
    assert!(matches!(classified, Err(Error::Cancelled)), "{classified:?}");
    encoder.set_cancel(Cancel::default());
    assert_eq!(block_on(encoder.embed(&["a b c"], None, Scaling::Unit)).unwrap(), wanted);
}

#[test]
fn gpu_cancelling_a_load_leaves_the_device_good() {
    let Some(gpu) = test_gpu() else { return };
    for stage in [Stage::Reading, Stage::Compiling] {
        let options = LoadOptions { cancel: Cancel::default(), ..LoadOptions::default() };
        let decoder = block_on(Session::load(&gpu, &Toy::llama().open(), &options, &mut |progress| {
            assert!(progress.done <= progress.total);
            if progress.stage == stage {
                options.cancel.cancel();
            }
        }));
        assert!(matches!(decoder, Err(Error::Cancelled)), "{stage:?}");
        let encoder = block_on(TextEncoder::load(&gpu, &Toy::bert().open(), &options, &mut |_| {}));
        assert!(matches!(encoder, Err(Error::Cancelled)), "{stage:?}");
    }
    assert_eq!(generate(&mut load(&gpu), &PROMPT, &greedy(4)).unwrap().tokens.len(), 4);
}

#[test]
fn gpu_a_device_lost_while_generating_is_an_error() {
    within_reason(|| {
        for logprobs in [None, Some(1)] {
            let Some(gpu) = test_gpu() else { return };
            let mut session = load(&gpu);
            let options = GenerateOptions { logprobs, ..greedy(32) };
            let mut n = 0;
            let lost = block_on(session.generate(&PROMPT, &options, &mut |_: Piece<'_>| {
                n += 1;
                if n == 3 {
                    gpu.destroy();
                }
                ControlFlow::Continue(())
            }));
            assert!(matches!(lost, Err(Error::Gpu { .. })), "{:?}", lost.map(|answer| answer.tokens));
            assert!(matches!(generate(&mut session, &PROMPT, &options), Err(Error::Gpu { .. })));
            assert!(matches!(block_on(session.next_logits(&PROMPT)), Err(Error::Gpu { .. })));
            assert!(matches!(block_on(session.nll(&PROMPT)), Err(Error::Gpu { .. })));
            // What the lost device held is let go of, and another takes its place.
            drop(session);
            let Some(gpu) = test_gpu() else { return };
            assert_eq!(generate(&mut load(&gpu), &PROMPT, &greedy(4)).unwrap().tokens.len(), 4);
        }
    });
}

#[test]
fn gpu_a_device_lost_before_or_while_loading_is_an_error() {
    within_reason(|| {
        for stage in [None, Some(Stage::Reading), Some(Stage::Compiling)] {
            let Some(gpu) = test_gpu() else { return };
            let lose = |now: Option<Stage>| {
                if now == stage {
                    gpu.destroy();
                }
            };
            lose(None);
            let mut hear = |progress: trice::session::Progress| lose(Some(progress.stage));
            let decoder = block_on(Session::load(&gpu, &Toy::llama().open(), &LoadOptions::default(), &mut hear));
            assert!(matches!(decoder, Err(Error::Gpu { .. })), "{stage:?}");
            let encoder = block_on(TextEncoder::load(&gpu, &Toy::bert().open(), &LoadOptions::default(), &mut |_| {}));
            assert!(matches!(encoder, Err(Error::Gpu { .. })), "{stage:?}");
        }
    });
}

#[test]
fn gpu_a_device_lost_between_texts_is_an_error() {
    within_reason(|| {
        let Some(gpu) = test_gpu() else { return };
        let mut encoder = encoder(&gpu, &Toy::bert());
        block_on(encoder.embed(&["a b c"], None, Scaling::Unit)).unwrap();
        gpu.destroy();
        assert!(matches!(block_on(encoder.embed(&["a b c"], None, Scaling::Unit)), Err(Error::Gpu { .. })));
    });
}

/// As after a model for which the memory did not suffice: what the driver said ends that work, not the device.
#[test]
fn gpu_a_drivers_error_ends_its_work_and_not_the_device() {
    let Some(gpu) = test_gpu() else { return };
    let mut session = load(&gpu);
    let wanted = generate(&mut session, &PROMPT, &greedy(8)).unwrap().tokens;
    let buffer = gpu.buffer("a small buffer", 16).unwrap();
    gpu.write(&buffer, 1 << 20, &[0; 16]);
    let refused = generate(&mut session, &PROMPT, &greedy(8)).unwrap_err();
    assert!(matches!(refused, Error::Gpu { .. }), "{refused}");
    assert_eq!(generate(&mut load(&gpu), &PROMPT, &greedy(8)).unwrap().tokens, wanted);
}

/// Finite weights whose products are not.
#[test]
fn gpu_outputs_that_are_no_numbers_are_an_error() {
    let Some(gpu) = test_gpu() else { return };
    let n_tokens = decoder_tokens().len() as u64;
    let signs = noise(7, (n_tokens * DIM) as usize);
    let huge: Vec<f32> = signs.iter().map(|sign| sign.signum() * 3e38).collect();
    let shape = [n_tokens, DIM];
    let toys = [("both", huge), ("one", vec![3e38; signs.len()]), ("other", vec![-3e38; signs.len()])];
    for (name, weights) in toys {
        let toy = Toy::llama().weights("output.weight", trice::format::DType::F32, &shape, &weights);
        let checkpoint = open_bytes("toy.gguf", toy.gguf());
        let mut session = block_on(Session::load(&gpu, &checkpoint, &LoadOptions::default(), &mut |_| {})).unwrap();
        for logprobs in [None, Some(3)] {
            for temperature in [0.0, 1.0] {
                let mut options = GenerateOptions { logprobs, ..greedy(32) };
                options.sampling.temperature = temperature;
                let answer = generate(&mut session, &PROMPT, &options);
                assert!(matches!(answer, Err(Error::Gpu { .. })), "{name}: {:?}", answer.map(|answer| answer.tokens));
            }
        }
        assert!(matches!(block_on(session.nll(&PROMPT)), Err(Error::Gpu { .. })), "{name}");
        assert!(matches!(block_on(session.next_logits(&PROMPT)), Err(Error::Gpu { .. })), "{name}");
    }
    let bias = Toy::bert().weights("blk.1.layer_output_norm.weight", trice::format::DType::F32, &[DIM], &[3e38; 64]);
    let mut encoder = encoder(&gpu, &bias);
    assert!(matches!(block_on(encoder.embed(&["a b"], None, Scaling::Unit)), Err(Error::Gpu { .. })));
}

#[test]
fn gpu_texts_and_labels_that_make_no_sense_are_refused() {
    let Some(gpu) = test_gpu() else { return };
    let mut plain = encoder(&gpu, &Toy::bert());
    let wanted = block_on(plain.embed(&["a b", ""], None, Scaling::Unit)).unwrap();
    assert!(wanted.iter().flatten().all(|value| value.is_finite()), "an empty text has a vector");
    assert!(block_on(plain.embed(&[], None, Scaling::Unit)).unwrap().is_empty());

    let classify = |encoder: &mut TextEncoder, options: &ClassifyOptions| block_on(encoder.classify(&["a b"], options));
    let headless = classify(&mut plain, &ClassifyOptions::default()).unwrap_err();
    assert!(matches!(&headless, Error::Invalid { what } if what.contains("no classification head")), "{headless}");
    let options =
        ClassifyOptions { labels: vec!["a".into()], template: Some("about it".into()), ..ClassifyOptions::default() };
    assert!(matches!(classify(&mut plain, &options), Err(Error::Invalid { .. })));
    let options = ClassifyOptions { template: Some("about {}".into()), ..options };
    assert_eq!(classify(&mut plain, &options).unwrap()[0].labels[0].score, 1.0, "one label takes all");

    let embed = |encoder: &mut TextEncoder, ids: Vec<u32>| block_on(encoder.embed_ids(&[ids], None, Scaling::Unit));
    assert!(matches!(embed(&mut plain, vec![]), Err(Error::Invalid { .. })));
    assert!(matches!(embed(&mut plain, vec![2, 57, 3]), Err(Error::Invalid { .. })));
    assert!(matches!(embed(&mut plain, vec![2; 65]), Err(Error::Limit { needed: 65, available: 64, .. })));
    let long = "abc ".repeat(10_000);
    assert_eq!(plain.encode(&long).unwrap().len(), CONTEXT as usize, "a long text is cut");
    assert!(matches!(block_on(plain.logits(&["a"])), Err(Error::Unsupported { .. } | Error::Invalid { .. })));
    for context_len in [0, 1, 2] {
        let options = LoadOptions { context_len: Some(context_len), ..LoadOptions::default() };
        let loaded = block_on(TextEncoder::load(&gpu, &Toy::bert().open(), &options, &mut |_| {}));
        assert!(matches!(loaded, Err(Error::Invalid { .. })), "a context of {context_len}");
    }
    assert_eq!(block_on(plain.embed(&["a b", ""], None, Scaling::Unit)).unwrap(), wanted);
}

#[test]
fn gpu_a_refused_head_leaves_the_old_one() {
    let Some(gpu) = test_gpu() else { return };
    let mut encoder = encoder(&gpu, &Toy::classifier(2));
    let classify = |encoder: &mut TextEncoder| block_on(encoder.classify(&["a b"], &ClassifyOptions::default()));
    let wanted = classify(&mut encoder).unwrap();
    assert_eq!(wanted[0].labels.len(), 2);
    let head = |labels: &str, cols: usize| {
        let bytes: Vec<u8> = [0.5f32.to_le_bytes()].repeat(3 * cols).concat();
        let shape = vec![3, cols];
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, &bytes).unwrap();
        let about = Some([("labels".to_owned(), labels.to_owned())].into());
        open_bytes("head.safetensors", safetensors::serialize([("classifier.weight", view)], about).unwrap())
    };
    for (labels, cols) in [("a, b", 64), ("a, b, c", 32)] {
        let refused = block_on(encoder.load_head(&head(labels, cols))).unwrap_err();
        assert!(matches!(refused, Error::Format { .. }), "{refused}");
        assert_eq!(classify(&mut encoder).unwrap(), wanted);
    }
    block_on(encoder.load_head(&head("a, b, c", 64))).unwrap();
    assert_eq!(classify(&mut encoder).unwrap()[0].labels.len(), 3);
}
