#!/usr/bin/env python3
"""Writes chat_templates.json: conversations rendered by transformers' apply_chat_template, for tests/it/text/chat_templates.rs.

    pip install -r requirements.txt     # here: transformers, gguf
    python3 chat_templates.py [folder of llama.cpp's vocabularies] > chat_templates.json

The templates are chat_templates/*.jinja, written for this project in the formats that families publish, and those in the
GGUF files of the folder, which are named and not copied.
"""
import datetime
import json
import pathlib
import sys

from gguf import GGUFReader
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

HERE = pathlib.Path(__file__).parent
NOW = datetime.datetime(2026, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)


class Clock:
    """Stands for `datetime` where transformers asks what time it is."""

    @staticmethod
    def now():
        return NOW


chat_template_utils.datetime = Clock

SYSTEM = dict(role="system", content="  Be brief.\nBe kind. ")
HI = dict(role="user", content=" Hi, what is 2 < 3 & \"é\"?\n")
ANSWER = dict(role="assistant", content="True. \n")
AGAIN = dict(role="user", content="And\n\n我?")
THOUGHT = dict(role="assistant", content="<think>\nTwo is less.\n</think>\n\nYes.")
REASONED = dict(role="assistant", content="Yes.", reasoning_content="\nLet me see.\n")
CALL = dict(role="assistant", content="", tool_calls=[
    dict(id="abcdef123", type="function", function=dict(name="weather", arguments={"city": "Zürich", "days": 3, "wind": True}))])
CALLS = dict(role="assistant", content="Looking.", tool_calls=CALL["tool_calls"] + [
    dict(id="abcdef124", type="function", function=dict(name="now", arguments={}))])
SILENT_CALL = {**CALL, "content": None}
RESULT = dict(role="tool", name="weather", tool_call_id="abcdef123", content="{\"sky\": \"<clear>\"}")
RESULT2 = dict(role="tool", name="now", tool_call_id="abcdef124", content="noon")
PARTS = dict(role="user", content=[dict(type="image"), dict(type="text", text=" What is this? ")])
TOOLS = [
    dict(type="function", function=dict(
        name="weather", description="The weather of a city, \"today\" & later.", parameters=dict(
            type="object", required=["city"], properties=dict(
                city=dict(type="string", description="Its name: é, 'x', \"y\""),
                days=dict(type=["integer", "null"], description=" How many ", default=1.5),
                more=dict(type="array", items=dict(type="object", additionalProperties=dict(type="number"))))),
        **{"return": dict(type="string", description="words")})),
    dict(type="function", function=dict(name="now", description="The time", parameters=dict(type="object", properties={}))),
]
ONE_TURN = [HI]
TALK = [SYSTEM, HI, ANSWER, AGAIN]
TOOL_TALK = [SYSTEM, HI, CALL, RESULT]
DOCUMENTS = [dict(title="t", text="One."), dict(title="u", text="Two.")]
MARKS = dict(
    llama2=("<s>", "</s>"), llama3=("<|begin_of_text|>", "<|eot_id|>"), mistral=("<s>", "</s>"), gemma3=("<bos>", "<eos>"),
    deepseek_r1=("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"))
CASES = dict(
    chatml=[dict(messages=ONE_TURN), dict(messages=TALK), dict(messages=TALK[:3], generate=False)],
    llama2=[dict(messages=ONE_TURN), dict(messages=TALK), dict(messages=TALK[:3], generate=False), dict(messages=[HI, AGAIN])],
    llama3=[dict(messages=ONE_TURN), dict(messages=TALK), dict(messages=TALK, date_string="1 May 2025"), dict(messages=TOOL_TALK, tools=TOOLS),
            dict(messages=TOOL_TALK, tools=TOOLS, tools_in_user_message=False), dict(messages=[HI, CALLS], tools=TOOLS),
            dict(messages=[HI, CALL, {**RESULT, "content": {"sky": "clear"}}], tools=TOOLS, generate=False)],
    mistral=[dict(messages=ONE_TURN), dict(messages=TALK), dict(messages=[*TOOL_TALK, ANSWER, AGAIN], tools=TOOLS),
             dict(messages=[HI, CALLS, RESULT, RESULT2], tools=TOOLS), dict(messages=[HI, HI])],
    qwen3=[dict(messages=ONE_TURN), dict(messages=TALK), dict(messages=ONE_TURN, enable_thinking=False), dict(messages=ONE_TURN, enable_thinking=True),
           dict(messages=TOOL_TALK, tools=TOOLS), dict(messages=[HI, CALLS, RESULT, RESULT2, THOUGHT], tools=TOOLS, generate=False),
           dict(messages=[HI, THOUGHT, AGAIN]), dict(messages=[HI, REASONED], generate=False), dict(messages=[HI, SILENT_CALL, RESULT], tools=TOOLS)],
    gemma3=[dict(messages=ONE_TURN), dict(messages=TALK), dict(messages=[SYSTEM, PARTS]), dict(messages=[HI, HI]), dict(messages=[dict(role="user", content=3)])],
    phi3=[dict(messages=ONE_TURN), dict(messages=TALK), dict(messages=TALK[:3], generate=False)],
    phi4=[dict(messages=ONE_TURN), dict(messages=TALK), dict(messages=TALK[:3], generate=False)],
    smollm3=[dict(messages=ONE_TURN), dict(messages=TALK), dict(messages=TALK, enable_thinking=False), dict(messages=ONE_TURN, tools=TOOLS),
             dict(messages=ONE_TURN, xml_tools=TOOLS[:1]), dict(messages=[dict(role="system", content="Quick. /no_think"), HI, ANSWER], generate=False)],
    granite=[dict(messages=ONE_TURN), dict(messages=TALK), dict(messages=ONE_TURN, tools=TOOLS, documents=DOCUMENTS),
             dict(messages=TALK, controls={"citations": True, "length": "long"})],
    hermes=[dict(messages=[HI, CALLS, RESULT, RESULT2], tools=TOOLS), dict(messages=[SYSTEM, HI, CALL, RESULT, ANSWER], tools=TOOLS, generate=False)],
    deepseek_r1=[dict(messages=ONE_TURN), dict(messages=[SYSTEM, HI, THOUGHT, AGAIN]), dict(messages=[HI, SILENT_CALL, RESULT]),
                 dict(messages=[HI, CALL, RESULT, ANSWER, AGAIN])],
    language=[dict(messages=TALK)],
)


def templates(folder):
    for name in CASES:
        yield f"{name}.jinja", (HERE / "chat_templates" / f"{name}.jinja").read_text(), MARKS.get(name, ("", "<|im_end|>")), CASES[name]
    for path in sorted(pathlib.Path(folder).glob("*.gguf")):
        fields = GGUFReader(path).fields
        if template := fields.get("tokenizer.chat_template"):
            tokens = fields["tokenizer.ggml.tokens"]
            marks = tuple(tokens.contents(int(fields[f"tokenizer.ggml.{mark}_token_id"].contents())) for mark in ("bos", "eos"))
            yield path.name, template.contents(), marks, CASES["phi3"]


def render(name, template, marks, messages, tools=None, documents=None, generate=True, **variables):
    bos, eos = marks
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), bos_token=bos or None, eos_token=eos)
    case = dict(template=name, bos=bos, eos=eos, messages=messages, tools=tools or [], generate=generate, variables=dict(variables))
    if documents:
        case["variables"]["documents"] = documents
    try:
        case["wanted"] = tokenizer.apply_chat_template(
            messages, tools=tools, documents=documents, chat_template=template, tokenize=False, add_generation_prompt=generate, **variables)
    except Exception as error:
        case["refused"] = str(error)
    return case


folder = sys.argv[1] if len(sys.argv) > 1 else HERE / "../../../shared/tokenizers/llamacpp-vocabs"
cases = [render(name, template, marks, **case) for name, template, marks, cases in templates(folder) for case in cases]
print(json.dumps(dict(now=int(NOW.timestamp()), cases=cases), ensure_ascii=False, indent=1))
