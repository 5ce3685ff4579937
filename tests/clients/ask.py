"""What the official `openai` client for Python makes of our server: each function asks one thing and asserts the answer.

    pip install -r tests/clients/requirements.txt
    python3 tests/clients/ask.py http://127.0.0.1:8080 [KEY]

The server holds builtin:stories, builtin:sentiment and builtin:embed, with a context of 128 tokens. Prints a line per check and
exits with 1 at the first that fails. `ask.mjs` is the same for Node.
"""

import base64
import json
import struct
import sys

import openai

STORY = [{"role": "user", "content": "Tell me a story about a dog."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"$ref": "#/$defs/city"}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
            "required": ["city", "days"],
            "additionalProperties": False,
            "$defs": {"city": {"enum": ["Zürich", "Bern"]}},
        },
    },
}
NOW = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}}}
SCHEMA = {
    "type": "object",
    "properties": {"color": {"enum": ["red", "blue"]}, "size": {"type": "integer", "minimum": 1, "maximum": 20}},
    "required": ["color", "size"],
    "additionalProperties": False,
}
GREEDY = {"model": "builtin:stories", "temperature": 0, "max_tokens": 24}


def chat(client):
    answer = client.chat.completions.create(messages=STORY, **GREEDY)
    assert answer.choices[0].message.role == "assistant" and answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens == 24
    again = client.chat.completions.create(messages=STORY, **GREEDY)
    assert again.choices[0].message.content == answer.choices[0].message.content
    assert again.usage.prompt_tokens_details.cached_tokens < again.usage.prompt_tokens


def stream(client):
    whole = client.chat.completions.create(messages=STORY, **GREEDY)
    chunks = list(client.chat.completions.create(messages=STORY, stream=True, stream_options={"include_usage": True}, **GREEDY))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == 24 and chunks[-2].choices[0].finish_reason == "length"


def completion(client):
    answer = client.completions.create(prompt="Once upon a time", logprobs=2, **GREEDY)
    assert answer.choices[0].text and len(answer.choices[0].logprobs.tokens) == 24


def tools(client):
    wanted = {"messages": STORY, "tools": [WEATHER, NOW], "model": "builtin:stories", "tool_choice": "required"}
    answer = client.chat.completions.create(**wanted).choices[0]
    assert answer.finish_reason == "tool_calls" and answer.message.content is None
    (call,) = answer.message.tool_calls
    assert call.type == "function" and call.function.name in ("weather", "now")

    named = {"type": "function", "function": {"name": "weather"}}
    (call,) = client.chat.completions.create(**{**wanted, "tool_choice": named}).choices[0].message.tool_calls
    arguments = json.loads(call.function.arguments)
    assert call.function.name == "weather" and arguments["city"] in ("Zürich", "Bern") and 1 <= arguments["days"] <= 9

    # The helper of the client puts the call together from what was streamed.
    with client.chat.completions.stream(**{**wanted, "tool_choice": named}) as events:
        final = events.get_final_completion().choices[0]
    assert final.finish_reason == "tool_calls"
    assert json.loads(final.message.tool_calls[0].function.arguments)["city"] in ("Zürich", "Bern")

    # The call and its result go back as the client has them.
    turn = [*STORY, final.message, {"role": "tool", "tool_call_id": final.message.tool_calls[0].id, "content": "sunny"}]
    assert client.chat.completions.create(messages=turn, **GREEDY).choices[0].message.content is not None

    refused(client, 400, "tools", **{**wanted, "tool_choice": "auto"})


def schema(client):
    form = {"type": "json_schema", "json_schema": {"name": "look", "schema": SCHEMA, "strict": True}}
    answer = client.chat.completions.create(messages=STORY, model="builtin:stories", response_format=form)
    look = json.loads(answer.choices[0].message.content)
    assert look["color"] in ("red", "blue") and 1 <= look["size"] <= 20 and answer.choices[0].finish_reason == "stop"


def embeddings(client):
    floats, encoded = (
        client.embeddings.create(model="builtin:embed", input=["a dog", "a cat"], encoding_format=form).data
        for form in ("float", "base64")
    )
    assert abs(sum(x * x for x in floats[0].embedding) - 1) < 1e-4
    raw = base64.b64decode(encoded[1].embedding)
    for x, y in zip(floats[1].embedding, struct.unpack(f"<{len(raw) // 4}f", raw), strict=True):
        assert abs(x - y) < 1e-6
    # Without a format the client asks for base64 itself.
    assert client.embeddings.create(model="builtin:embed", input="a dog").data[0].embedding[0] == floats[0].embedding[0]


def models(client):
    assert [model.id for model in client.models.list()] == ["builtin:stories", "builtin:sentiment", "builtin:embed"]


def refused(client, status, param, **request):
    try:
        client.chat.completions.create(**request)
    except openai.APIStatusError as error:
        assert error.status_code == status and error.param == param, error
        assert error.message and error.type and error.code, error
        return error
    raise AssertionError(f"{request} was not refused")


def errors(client):
    assert isinstance(refused(client, 400, "temperature", messages=STORY, model="builtin:stories", temperature=3), openai.BadRequestError)
    long = [{"role": "user", "content": "once upon a time " * 100}]
    assert refused(client, 400, None, messages=long, model="builtin:stories").code == "context_length_exceeded"
    assert isinstance(refused(client, 404, None, messages=STORY, model="gpt-7"), openai.NotFoundError)
    huge = [{"role": "user", "content": "x" * (5 << 20)}]
    assert refused(client, 413, None, messages=huge, model="builtin:stories").code == "body_too_large"
    stranger = client.with_options(api_key="wrong")
    assert isinstance(refused(stranger, 401, None, messages=STORY, model="builtin:stories"), openai.AuthenticationError)


def unavailable(client):
    """The only check of a server that has no model."""
    assert isinstance(refused(client, 503, None, messages=STORY, model="builtin:stories"), openai.InternalServerError)


def main(address, key="none", *names):
    client = openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0)
    checks = [chat, stream, completion, tools, schema, embeddings, models, errors]
    for check in [globals()[name] for name in names] or checks:
        check(client)
        print("python", check.__name__)


main(*sys.argv[1:])
