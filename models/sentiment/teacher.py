"""Fine-tune MiniLM on the UCI training sentences: the teacher of the small model.

    python models/sentiment/teacher.py

Writes $TRICE_WORK/teacher/ and prints the accuracy on the held-out tenth, which
is neither trained on nor used to choose anything.
"""
import random
import time

import torch
from transformers import AutoTokenizer, BertForSequenceClassification

from common import MINILM, WORK, load_split

EPOCHS, BATCH, RATE = 4, 32, 6e-5


def logits_of(model, tok, texts, batch=64):
    """Float32 logits and [CLS] states of `texts`, sorted by length inside."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    logits, states = [None] * len(texts), [None] * len(texts)
    model.eval()
    with torch.inference_mode():
        for at in range(0, len(order), batch):
            part = order[at:at + batch]
            enc = tok([texts[i] for i in part], padding=True, truncation=True, max_length=128, return_tensors="pt")
            with torch.autocast("cpu", torch.bfloat16, enabled=len(texts) > 1000):
                out = model(**enc, output_hidden_states=True)
            for i, l, s in zip(part, out.logits.float(), out.hidden_states[-1][:, 0].float()):
                logits[i], states[i] = l, s
    return torch.stack(logits), torch.stack(states)


def accuracy(logits, labels):
    return (logits.argmax(-1) == torch.tensor(labels)).float().mean().item()


def main():
    torch.set_num_threads(1)
    torch.manual_seed(5)
    rng = random.Random(5)
    train, held = load_split()
    tok = AutoTokenizer.from_pretrained(MINILM)
    model = BertForSequenceClassification.from_pretrained(MINILM, num_labels=2, dtype=torch.float32)
    print(f"{len(train)} training sentences, {len(held)} held out", flush=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    total = EPOCHS * -(-len(train) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / (0.06 * total), (total - s) / (0.94 * total)))
    begin = time.time()
    for epoch in range(EPOCHS):
        model.train()
        rng.shuffle(train)
        pool = [sorted(train[i:i + 512], key=lambda x: len(x[0])) for i in range(0, len(train), 512)]
        parts = [p[i:i + BATCH] for p in pool for i in range(0, len(p), BATCH)]
        rng.shuffle(parts)
        loss_sum = 0.0
        for part in parts:
            enc = tok([t for t, _ in part], padding=True, truncation=True, max_length=128, return_tensors="pt")
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(**enc, labels=torch.tensor([l for _, l in part])).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            loss_sum += loss.item()
        print(f"epoch {epoch + 1}: loss {loss_sum / len(parts):.4f}  {time.time() - begin:.0f} s", flush=True)
    logits, _ = logits_of(model, tok, [t for t, _ in held])
    print(f"held-out accuracy {accuracy(logits, [l for _, l in held]):.4f}", flush=True)
    model.save_pretrained(WORK / "teacher")


if __name__ == "__main__":
    main()
