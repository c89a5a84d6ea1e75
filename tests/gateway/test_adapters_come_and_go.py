"""Adapters are loaded and unloaded in a running engine: others go on answering, and nothing answers that is not approved and probed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from tests.gateway.standins import CREDENTIAL, DEAD, FLIPPED, GOOD, Scene, adapter, adapters, routes, scene, to, until
from tunegate.api.serving import AdaptersDocument, RoutesDocument, folder_of
from tunegate.gateway import adapter_states

NEW = "new-00000004"


def with_new(revision: int = 2, **changes: object) -> RoutesDocument:
    """Return routes in which the new adapter answers beside the old one."""
    both = {
        "routes": {"extract": to(GOOD), "later": to(NEW)},
        "names": ["extract", "later"],
        "approved": [GOOD, DEAD, NEW],
    }
    return routes(revision=revision, **{**both, **changes})


def state(stage: Scene, name: str) -> tuple[str, str]:
    found = {one.served_name: (one.state, one.reason) for one in stage.gateway.adapter_states.adapters}
    return found.get(name, ("", ""))


async def held(stage: Scene, name: str = NEW) -> None:
    await until(lambda: state(stage, name)[0] == "Ready", f"holds {name}")


async def test_a_new_adapter_is_fetched_loaded_probed_and_answers_while_others_are_answered(stage: Scene) -> None:
    stage.engine.changes.clear()
    stage.engine.go.clear()
    streamed = {"model": "extract", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    async with stage.http.post(f"{stage.url}/v1/chat/completions", json=streamed, headers=stage.headers) as answer:
        await answer.content.readline()
        await stage.cluster.put(with_new())
        await stage.cluster.list(GOOD, DEAD, NEW)
        await held(stage)
        assert stage.gateway.ready
        stage.engine.go.set()
        assert b"[DONE]" in await answer.content.read()
    assert stage.engine.changes == [f"+{NEW}", f"?{NEW}"]
    assert stage.engine.models[NEW].endswith(folder_of(adapter(NEW).digest))
    status, _, headers = await stage.ask("later")
    assert (status, headers["X-Tunegate-Served-Name"]) == (200, NEW)
    assert (await stage.ask("extract"))[0] == 200


async def test_each_question_to_the_fetching_container_brings_the_credential_of_that_moment(stage: Scene) -> None:
    assert stage.fetching.asked[0] == (GOOD, CREDENTIAL)


async def test_nothing_answers_before_its_probe_passed(stage: Scene) -> None:
    stage.engine.loading.clear()
    await stage.cluster.put(with_new())
    await stage.cluster.list(GOOD, DEAD, NEW)
    await until(lambda: state(stage, NEW)[0] == "Loading", "being loaded")
    assert (await stage.ask("later"))[0] == 503
    assert (await stage.ask("extract"))[0] == 200
    stage.engine.loading.set()
    await held(stage)
    assert (await stage.ask("later"))[0] == 200


async def test_an_adapter_whose_probe_fails_is_unloaded_and_never_asked_again(stage: Scene) -> None:
    assert state(stage, DEAD)[0] == "LeftOut"
    assert stage.engine.changes.count(f"+{DEAD}") == stage.engine.changes.count(f"-{DEAD}") == 1
    assert DEAD not in stage.engine.models
    await asyncio.sleep(adapter_states.STEP_SECONDS + 0.5)
    assert stage.engine.changes.count(f"+{DEAD}") == 1


async def test_what_is_listed_no_more_is_unloaded_and_its_folder_removed(stage: Scene) -> None:
    await stage.cluster.list(DEAD)
    await until(lambda: state(stage, GOOD) == ("", ""), "gone")
    assert (await stage.ask("extract"))[0] == 503
    assert stage.engine.models.keys() == {"base"}
    await until(lambda: stage.fetching.kept == [adapter(DEAD).digest], "told what to keep")
    await stage.cluster.list(GOOD)
    await held(stage, GOOD)
    assert (await stage.ask("extract"))[0] == 200


async def test_the_base_model_is_scored_once_for_an_answer_until_the_engine_is_another_one(stage: Scene) -> None:
    scored = stage.engine.scored["base"]
    assert scored > 0
    for names in ([DEAD], [GOOD, DEAD]):
        await stage.cluster.list(*names)
        await until(lambda: (state(stage, GOOD)[0] == "Ready") is (GOOD in names), "followed")  # noqa: B023
    assert stage.engine.scored["base"] == scored
    stage.engine.alive = False
    await until(lambda: not stage.gateway.ready, "noticed")
    stage.engine.alive = True
    await until(lambda: stage.gateway.ready, "ready again")
    assert stage.engine.scored["base"] == 2 * scored


@pytest.mark.attack(26)
async def test_a_revoked_adapter_is_cut_and_unloaded_even_while_the_list_still_names_it(stage: Scene) -> None:
    stage.engine.go.clear()
    streamed = {"model": "extract", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    async with stage.http.post(f"{stage.url}/v1/chat/completions", json=streamed, headers=stage.headers) as answer:
        await answer.content.readline()
        await stage.cluster.put(routes(revision=2, routes={}, approved=[DEAD]))
        with pytest.raises((aiohttp.ClientError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(answer.content.read(), 5)
    await until(lambda: GOOD not in stage.engine.models, "unloaded")
    stage.engine.go.set()
    await stage.cluster.put(routes(revision=3))
    await held(stage, GOOD)
    assert (await stage.ask("extract"))[0] == 200, "given back, it is loaded again"


async def test_requests_that_a_delisted_adapter_answers_end_before_it_is_unloaded(stage: Scene) -> None:
    stage.engine.go.clear()
    asking = asyncio.create_task(stage.ask("extract"))
    await asyncio.wait_for(stage.engine.begun.wait(), 5)
    await stage.cluster.list(DEAD)
    await until(lambda: stage.gateway.routes.open == {}, "closed")
    assert state(stage, GOOD)[0] == "Unloading"
    assert GOOD in stage.engine.models
    stage.engine.go.set()
    assert (await asking)[0] == 200
    await until(lambda: GOOD not in stage.engine.models, "unloaded")


async def test_requests_that_do_not_end_are_cut_after_a_while(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter_states, "LEAVING_SECONDS", 0.5)
    stage.engine.go.clear()
    asking = asyncio.create_task(stage.ask("extract"))
    await asyncio.wait_for(stage.engine.begun.wait(), 5)
    await stage.cluster.list(DEAD)
    await until(lambda: GOOD not in stage.engine.models, "unloaded")
    with pytest.raises(aiohttp.ClientError):
        await asking


@pytest.mark.attack(51)
@pytest.mark.parametrize("changes", [{"digest": "sha256:" + "9" * 64}, {"manifest_digest": "sha256:" + "9" * 64}])
async def test_other_bytes_under_a_name_that_was_there_are_refused(stage: Scene, changes: dict[str, str]) -> None:
    asked = len(stage.fetching.asked)
    await stage.cluster.list(GOOD, **changes)
    await until(lambda: state(stage, GOOD)[0] == "LeftOut", "refused")
    assert "under this name, where" in state(stage, GOOD)[1]
    assert (await stage.ask("extract"))[0] == 503
    assert len(stage.fetching.asked) == asked, "they are not even fetched"
    await until(lambda: GOOD not in stage.engine.models, "unloaded")
    await stage.cluster.list(GOOD)
    await held(stage, GOOD)


@pytest.mark.attack(51)
@pytest.mark.parametrize("forged", [{"digest": "sha256:" + "9" * 64}, {"manifest_digest": "sha256:" + "9" * 64}])
async def test_a_forged_list_keeps_no_release_away_once_the_operators_list_is_back(
    stage: Scene, forged: dict[str, str]
) -> None:
    stage.fetching.refuses.append("9" * 64)
    await stage.cluster.put(with_new())
    stage.cluster.adapters.document = AdaptersDocument(
        adapters=[*adapters(GOOD, DEAD).adapters, adapter(NEW, **forged)]
    )
    await stage.cluster.touch()
    await until(lambda: state(stage, NEW)[0] == "LeftOut", "left out")
    await stage.cluster.list(GOOD, DEAD, NEW)
    await held(stage)
    assert (await stage.ask("later"))[0] == 200


@pytest.mark.attack(51)
async def test_a_list_that_is_not_the_operators_is_not_followed(stage: Scene) -> None:
    honest = dict(stage.cluster.adapters.metadata)
    stage.cluster.adapters.metadata["ownerReferences"] = []
    await stage.cluster.list(NEW)
    await until(lambda: "owner" in stage.gateway.status().message, "said")
    assert (await stage.ask("extract"))[0] == 200, "what was approved goes on"
    assert NEW not in {name for name, _ in stage.fetching.asked}
    stage.cluster.adapters.metadata = honest
    await stage.cluster.put(with_new())
    await stage.cluster.list(GOOD, NEW)
    await held(stage)
    assert stage.gateway.status().message == ""


@pytest.mark.attack(20)
@pytest.mark.parametrize(
    "target",
    [
        "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "//v1/load_lora_adapter", "/v1//load_lora_adapter", "/v1/./load_lora_adapter",
        "/v1/chat/../load_lora_adapter", "/v1/chat/completions/../../load_lora_adapter", "/v1/%6coad_lora_adapter",
        "/v1%2fload_lora_adapter", "/v1/chat/completions%2f..%2f..%2fload_lora_adapter", "/v1/models/..%2fload_lora_adapter",
        "/v1/chat/completions;/v1/load_lora_adapter", "/v1/chat/completions?/v1/load_lora_adapter", "/V1/LOAD_LORA_ADAPTER",
        "http://engine/v1/load_lora_adapter", "/v1/chat/completions#/v1/load_lora_adapter", "/v1\\load_lora_adapter", "*",
    ],
)  # fmt: skip
async def test_no_client_reaches_what_loads_and_unloads(stage: Scene, target: str) -> None:
    before, models = list(stage.engine.changes), dict(stage.engine.models)
    body = b'{"lora_name": "mine", "lora_path": "/tmp"}'
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.settings.port)
    head = (
        f"POST {target} HTTP/1.1\r\nHost: engine\r\nAuthorization: {stage.headers['Authorization']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    assert answer.split(b" ")[1] in (b"400", b"404", b"405")
    assert (stage.engine.changes, stage.engine.models) == (before, models)
    assert not stage.engine.seen


async def test_two_adapters_of_one_name_are_both_refused(stage: Scene) -> None:
    twice = adapters(NEW).adapters + adapters(NEW, repository="team/other/adapter").adapters
    stage.cluster.adapters.document = adapters(GOOD).model_copy(update={"adapters": [*adapters(GOOD).adapters, *twice]})
    await stage.cluster.touch()
    await until(lambda: state(stage, NEW) == ("LeftOut", "two adapters have this name"), "refused")
    assert (await stage.ask("extract"))[0] == 200


async def test_what_cannot_be_fetched_now_is_tried_again_and_keeps_nobody_waiting(stage: Scene) -> None:
    stage.fetching.away = True
    await stage.cluster.put(with_new())
    await stage.cluster.list(GOOD, DEAD, NEW)
    await until(lambda: "the registry is away" in state(stage, NEW)[1], "said")
    assert (stage.gateway.ready, state(stage, NEW)[0]) == (True, "Loading")
    stage.fetching.away = False
    await held(stage)


async def test_an_adapter_that_the_engine_cannot_load_is_left_out(stage: Scene) -> None:
    stage.engine.refuses.add(NEW)
    await stage.cluster.put(with_new())
    await stage.cluster.list(GOOD, DEAD, NEW)
    await until(lambda: state(stage, NEW)[0] == "LeftOut", "left out")
    assert "cannot be loaded" in state(stage, NEW)[1]
    assert (await stage.ask("extract"))[0] == 200


async def test_an_adapter_without_a_free_slot_waits_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(tmp_path) as stage:
        monkeypatch.setattr(stage.gateway.adapter_states, "_most", 1)
        await stage.cluster.put(with_new())
        await stage.cluster.list(GOOD, NEW)
        await until(lambda: "waits for a slot" in state(stage, NEW)[1], "waiting")
        await stage.cluster.list(NEW)
        await held(stage)


async def test_an_answer_that_was_lost_on_its_way_closes_nothing(stage: Scene) -> None:
    stage.engine.deaf = True
    await stage.cluster.put(with_new())
    await stage.cluster.list(GOOD, DEAD, NEW)
    await until(lambda: NEW in stage.engine.models, "loaded without anybody knowing")
    stage.engine.deaf = False
    assert (await stage.ask("extract"))[0] == 200
    await held(stage)
    assert stage.engine.changes.count(f"+{NEW}") == 1


async def test_a_rejected_adapter_that_could_not_be_unloaded_is_unloaded_later(stage: Scene) -> None:
    await stage.cluster.list(DEAD)
    await until(lambda: GOOD not in stage.engine.models, "unloaded")
    stage.engine.tuned = False
    stage.engine.keeps.add(GOOD)
    await stage.cluster.list(GOOD, DEAD)
    await until(lambda: state(stage, GOOD)[0] == "LeftOut", "rejected")
    assert GOOD in stage.engine.models
    stage.engine.keeps.clear()
    await until(lambda: GOOD not in stage.engine.models, "unloaded")
    assert state(stage, GOOD)[0] == "LeftOut"


async def test_an_adapter_that_is_loaded_after_its_answer_was_lost_is_no_stranger(
    stage: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter_states, "RETRY_SECONDS", 0.1)
    stage.engine.silent, scored = True, stage.engine.scored[GOOD]
    await stage.cluster.put(with_new())
    await stage.cluster.list(GOOD, DEAD, NEW)
    await until(lambda: NEW in stage.engine.later, "told to load")
    stage.engine.loading.clear()
    stage.engine.silent, told = False, stage.engine.told[NEW]
    await until(lambda: stage.engine.told[NEW] > told, "told again, since the engine did not hold it")
    stage.engine.models |= stage.engine.later
    stage.engine.loading.set()
    await held(stage)
    assert (await stage.ask("later"))[0] == (await stage.ask("extract"))[0] == 200
    assert stage.engine.scored[GOOD] == scored, "nobody else was taken out"


async def test_an_adapter_that_is_loaded_after_it_was_called_off_is_unloaded(stage: Scene) -> None:
    stage.engine.silent, scored = True, stage.engine.scored[GOOD]
    await stage.cluster.put(with_new())
    await stage.cluster.list(GOOD, DEAD, NEW)
    await until(lambda: NEW in stage.engine.later, "told to load")
    await stage.cluster.list(GOOD, DEAD)
    await until(lambda: state(stage, NEW) == ("", ""), "called off")
    stage.engine.models |= stage.engine.later
    await until(lambda: NEW not in stage.engine.models, "unloaded")
    assert (await stage.ask("extract"))[0] == 200
    assert stage.engine.scored[GOOD] == scored, "nobody else was taken out"


async def test_an_adapter_that_the_engine_lost_is_loaded_again(stage: Scene) -> None:
    del stage.engine.models[GOOD]
    await until(lambda: not stage.gateway.ready, "noticed")
    await until(lambda: stage.gateway.ready, "ready again")
    assert stage.engine.changes.count(f"+{GOOD}") == 2
    assert (await stage.ask("extract"))[0] == 200


@pytest.mark.attack(20)
async def test_an_approved_name_that_leads_to_another_folder_stops_everything(stage: Scene) -> None:
    stage.engine.models[GOOD] = "/elsewhere"
    await until(lambda: stage.gateway.status().engine == "Tampered", "noticed")
    assert (await stage.ask("extract"))[0] == 503
    assert (await stage.ask("base"))[0] == 503


async def test_a_flipped_adapter_is_fetched_again_after_a_while(stage: Scene) -> None:
    assert state(stage, FLIPPED) == ("LeftOut", "a byte differs")
    found = stage.gateway.adapter_states._held[FLIPPED]
    asked = [name for name, _ in stage.fetching.asked].count(FLIPPED)
    assert found.not_before < float("inf")
    found.not_before = 0.0
    await until(lambda: [name for name, _ in stage.fetching.asked].count(FLIPPED) > asked, "asked again")
    assert state(stage, FLIPPED)[0] == "LeftOut"
