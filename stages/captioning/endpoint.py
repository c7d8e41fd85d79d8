"""Send requests to a chat endpoint, and send them again after failures that may pass, until a deadline."""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import random
import time
from typing import Any

import aiohttp

from stages.captioning.settings import CaptionSettings
from stages.captioning.subject import Answer
from stages.contract.stage import StageError

_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_FIRST_SECONDS, _MOST_SECONDS = 0.5, 30.0  # between tries, doubled each time
_MOST_BYTES = 4 * 2**20
_TOO_LONG = ("context length", "context_length", "maximum context", "too many tokens", "prompt is too long")


class _TransientError(Exception):
    """A failure that may pass. `wait`: the seconds until the next try that the server asks for."""

    def __init__(self, message: str, wait: float = 0.0):
        super().__init__(message)
        self.wait = wait


class Endpoint:
    def __init__(self, settings: CaptionSettings, key: str):
        self.settings = settings
        self.url = f"{settings.endpoint}/chat/completions"
        self._key = key
        self._session: aiohttp.ClientSession | None = None

    async def connect(self) -> None:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        connector = aiohttp.TCPConnector(limit=self.settings.in_flight)
        self._session = aiohttp.ClientSession(headers=headers, connector=connector)

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    async def ask(self, body: dict[str, Any], deadline: float) -> Answer:
        """Send a request until it is answered; `deadline` is a time of the event loop."""
        loop = asyncio.get_running_loop()
        fault = "no request was sent"
        for attempt in range(self.settings.tries):
            try:
                async with asyncio.timeout_at(deadline):
                    return await self._send(body)
            except (_TransientError, aiohttp.ClientError, ConnectionError) as error:  # aiohttp's own time-outs too
                fault = _one_line(self._without_key(str(error) or type(error).__name__))
                wait = _pause(attempt, error.wait if isinstance(error, _TransientError) else 0.0)
            except TimeoutError:
                fault = "no response" if attempt == 0 else fault
                break
            if attempt + 1 == self.settings.tries:
                raise self._failed(f"gave up after {attempt + 1} tries", fault)
            if loop.time() + wait >= deadline:
                break
            await asyncio.sleep(wait)
        raise self._failed(f"no answer within caption.deadline_seconds ({self.settings.deadline_seconds:g})", fault)

    def _failed(self, message: str, last: str) -> StageError:
        return StageError("endpoint_failed", f"{self.url}: {message}; last failure: {last}", transient=True)

    async def _send(self, body: dict[str, Any]) -> Answer:
        if self._session is None:
            raise RuntimeError("call connect() before ask()")
        # Redirects are not followed: pictures and key are sent only to the endpoint that the recipe names.
        async with self._session.post(self.url, json=body, allow_redirects=False, timeout=_NO_TIMEOUT) as response:
            data = bytearray()
            async for chunk in response.content.iter_chunked(2**16):
                data += chunk
                if len(data) > _MOST_BYTES:
                    raise _TransientError(f"an answer of more than {_MOST_BYTES} bytes")
            text = self._without_key(data.decode("utf-8", "replace"))  # before a part of it is quoted
            if response.status == 200:
                return _answer(text, response.content_type)
            raise self._error(response.status, response.headers.get("Retry-After", ""), text)

    def _error(self, status: int, retry_after: str, text: str) -> Exception:
        if status in (401, 403):  # the text is not quoted, because it may contain the key
            variable = f"the environment variable {self.settings.api_key_variable} of the workers"
            fault = f"the key in {variable} is not accepted" if self._key else f"no key was sent; set {variable}"
            return StageError("not_authorised", f"{self.url}: status {status}: {fault}")
        message = f"status {status}: {_one_line(_message(text))}"
        if status in _TRANSIENT:
            return _TransientError(message, _seconds(retry_after))
        reason = "prompt_too_long" if any(words in text.lower() for words in _TOO_LONG) else "endpoint_refused"
        return StageError(reason, f"{self.url}: {message}")

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "(the key)") if self._key else text


_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=30)  # `ask` limits the time


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


def _pause(attempt: int, asked: float) -> float:
    """Seconds until the next try: at least as long as the server asks for, else doubled, with random variation."""
    longest = min(_FIRST_SECONDS * 2**attempt, _MOST_SECONDS)
    return max(asked, longest / 2) + random.uniform(0, longest / 2)


def _seconds(retry_after: str) -> float:
    """The wait that the header Retry-After asks for, as seconds or as a date."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, TypeError):
            return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def _message(text: str) -> str:
    """The message in an error body as OpenAI and vLLM send it, else the beginning of the body."""
    try:
        body = json.loads(text)
        error = body.get("error", body)
        return str(error.get("message") or error) if isinstance(error, dict) else str(error)
    except (ValueError, AttributeError, RecursionError):
        return text[:200]


def _answer(text: str, content_type: str) -> Answer:
    """The answer in a body. A body without one may come from a proxy, so the failure is transient."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _TransientError(f"the answer is not JSON ({content_type}): {text[:100]!r}") from error
    try:
        choice = body["choices"][0]
        content = choice["message"].get("content") or ""
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise _TransientError(f"the answer has no choices[0].message: {text[:100]!r}") from error
    if isinstance(content, list):  # some servers send parts
        content = "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return Answer(str(content), _confidence(choice), choice.get("finish_reason") == "length")


def _confidence(choice: dict[str, Any]) -> float | None:
    try:
        logs = [float(token["logprob"]) for token in choice["logprobs"]["content"]]
    except (KeyError, TypeError, ValueError):
        return None
    mean = sum(logs) / len(logs) if logs else math.nan
    return math.exp(min(mean, 0.0)) if math.isfinite(mean) else None
