"""Train the byte-level BPE tokenizer of the story model on the training stories.

    python models/stories/tokenizer.py

Writes $TRICE_WORK/tokenizer.json: 2,048 tokens: 3 specials, all 256 bytes, 1,789
merges; GPT-2 pre-tokenizer, no space put in front.
"""
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from common import EOT, IM_END, IM_START, VOCAB, WORK, load_split


def main():
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB, show_progress=False,
        special_tokens=[EOT, IM_START, IM_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tok.train_from_iterator(load_split()[1], trainer)
    assert tok.get_vocab_size() == VOCAB
    WORK.mkdir(parents=True, exist_ok=True)
    tok.save(str(WORK / "tokenizer.json"))


if __name__ == "__main__":
    main()
