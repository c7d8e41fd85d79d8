"""One endpoint: a question sent, and sent again where that may help, until there is an answer or no more patience."""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import random
import time
from typing import TYPE_CHECKING, Any

import aiohttp

from stages.captioning.subject import Answer
from stages.contract.stage import StageError

if TYPE_CHECKING:
    from stages.caption import Caption

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_FIRST_SECONDS, _MOST_SECONDS = 0.5, 30.0  # between tries: doubled each time
_ANSWER_BYTES = 4 * 2**20
_TOO_LONG = ("context length", "context_length", "maximum context", "too many tokens", "prompt is too long")


class _Passing(Exception):
    """A failure that may pass. `wait`: seconds that the server asks to be left alone."""

    def __init__(self, told: str, wait: float = 0.0):
        super().__init__(told)
        self.wait = wait


class Endpoint:
    def __init__(self, stage: Caption, key: str):
        self.stage = stage
        self.address = f"{stage.endpoint}/chat/completions"
        self._key = key
        self._session: aiohttp.ClientSession | None = None

    async def connect(self) -> None:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        connector = aiohttp.TCPConnector(limit=self.stage.in_flight)
        self._session = aiohttp.ClientSession(headers=headers, connector=connector)

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    async def ask(self, body: dict[str, Any], until: float) -> Answer:
        """`until`: the loop's time at which patience ends."""
        loop = asyncio.get_running_loop()
        fault = "it was not asked"
        for attempt in range(self.stage.tries):
            try:
                async with asyncio.timeout_at(until):
                    return await self._send(body)
            except (_Passing, aiohttp.ClientError, ConnectionError) as error:  # aiohttp's own time-outs too
                fault = self._scrub(str(error) or type(error).__name__)
                wait = _pause(attempt, error.wait if isinstance(error, _Passing) else 0.0)
            except TimeoutError:
                fault = "nothing came" if attempt == 0 else fault
                break
            if attempt + 1 == self.stage.tries:
                raise self._failed(f"gave up after {attempt + 1} tries", fault)
            if loop.time() + wait >= until:
                break
            await asyncio.sleep(wait)
        raise self._failed(f"no answer within caption.deadline_seconds ({self.stage.deadline_seconds:g})", fault)

    def _failed(self, told: str, fault: str) -> StageError:
        return StageError("endpoint_failed", f"{self.address}: {told}; at last: {fault}", transient=True)

    async def _send(self, body: dict[str, Any]) -> Answer:
        # A redirect is not followed: pictures and key go where the recipe says and nowhere else.
        async with self._session.post(self.address, json=body, allow_redirects=False, timeout=_NO_TIMEOUT) as response:
            data = bytearray()
            async for chunk in response.content.iter_chunked(2**16):
                data += chunk
                if len(data) > _ANSWER_BYTES:
                    raise _Passing(f"an answer of more than {_ANSWER_BYTES} bytes")
            text = data.decode("utf-8", "replace")
            if response.status == 200:
                return _read(text, response.content_type)
            raise self._refusal(response.status, response.headers.get("Retry-After", ""), text)

    def _refusal(self, status: int, retry_after: str, text: str) -> Exception:
        if status in (401, 403):  # what the server says may hold the key
            variable = self.stage.api_key_variable
            held = "the key in" if self._key else "no key is sent, since nothing is in"
            told = f"{self.address} answered {status}: {held} the environment variable {variable} of the workers"
            return StageError("not_authorised", told + (" is not accepted" if self._key else ""))
        told = f"status {status}: {self._scrub(_message(text))}"
        if status in _PASSING:
            return _Passing(told, _seconds(retry_after))
        reason = "prompt_too_long" if any(words in text.lower() for words in _TOO_LONG) else "endpoint_refused"
        return StageError(reason, f"{self.address}: {told}")

    def _scrub(self, text: str) -> str:
        line = " ".join(text.split())
        return (line.replace(self._key, "(the key)") if self._key else line)[:300]


_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=30)  # the deadline counts


def _pause(attempt: int, asked: float) -> float:
    """Seconds until the next try: at least what the server asks for, else ever longer, and never all at once."""
    grown = min(_FIRST_SECONDS * 2**attempt, _MOST_SECONDS)
    return max(asked, grown / 2) + random.uniform(0, grown / 2)


def _seconds(retry_after: str) -> float:
    """The header holds seconds or a date."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, TypeError):
            return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def _message(text: str) -> str:
    """What an error body says, as OpenAI and vLLM have it, else the beginning of the body."""
    try:
        told = json.loads(text)
        error = told.get("error", told)
        return str(error.get("message") or error) if isinstance(error, dict) else str(error)
    except (ValueError, AttributeError, RecursionError):
        return text[:200]


def _read(text: str, content_type: str) -> Answer:
    """The answer in a body. What is not one may be a proxy's doing, and is asked for again."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _Passing(f"not JSON ({content_type}): {text[:100]!r}") from error
    try:
        choice = told["choices"][0]
        said = choice["message"].get("content") or ""
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise _Passing(f"no choices[0].message in the answer: {text[:100]!r}") from error
    if isinstance(said, list):  # parts, as some servers have it
        said = "".join(part.get("text") or "" for part in said if isinstance(part, dict))
    return Answer(str(said), _confidence(choice), choice.get("finish_reason") == "length")


def _confidence(choice: dict[str, Any]) -> float | None:
    try:
        logs = [float(token["logprob"]) for token in choice["logprobs"]["content"]]
    except (KeyError, TypeError, ValueError):
        return None
    mean = sum(logs) / len(logs) if logs else math.nan
    return math.exp(min(mean, 0.0)) if math.isfinite(mean) else None
