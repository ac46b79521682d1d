"""GetModelMetadata (3.10) of models that TensorFlow 1, TensorFlow 2 and modelmill wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tensorflow_serving.apis import get_model_metadata_pb2

from pipeline.formats import saved_model
from tests.pipeline.formats import tiny
from tests.serving.server.asking import Grpc, failure
from tests.serving.server.example_models import CLASSIFY, PREDICT, REGRESS
from tests.serving.server.running import Running


def request_of(model: str, *fields: str) -> Any:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = model
    return request


def signatures(response: Any) -> dict[str, Any]:
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    return dict(found.signature_def)


@pytest.mark.rule("3.10")
def test_a_graph_of_tensorflow_1_shows_its_tensors_and_methods(client: Grpc) -> None:
    request = request_of("tf1", "signature_def", "signature_def")
    request.model_spec.version.value = 1
    response = client.prediction.GetModelMetadata(request)
    assert response.model_spec.version.value == 1
    assert list(response.metadata) == ["signature_def"]
    found = signatures(response)
    assert found["serving_default"].inputs["inputs"].name == "tf_example:0"
    assert [found[name].method_name for name in ("serving_default", "regress", "predict", "odd_method")] == [
        CLASSIFY, REGRESS, PREDICT, "odd"
    ]  # fmt: skip


@pytest.mark.rule("3.10")
def test_an_export_of_modelmill_shows_its_spec(client: Grpc) -> None:
    found = signatures(client.metadata("guarded"))
    assert set(found) == {saved_model.SIGNATURE, "__saved_model_init_op"}
    signature = found[saved_model.SIGNATURE]
    assert list(signature.inputs) == [tiny.SPEC.input.name]
    sizes = [dim.size for dim in signature.inputs[tiny.SPEC.input.name].tensor_shape.dim]
    assert sizes == [-1, *tiny.SPEC.input.shape]
    assert sorted(signature.outputs) == ["logits", "probabilities"]
    assert signature.method_name == PREDICT


@pytest.mark.rule("3.10")
def test_the_fields_are_checked_before_the_lookup_and_the_spec_before_the_fields(client: Grpc) -> None:
    call = client.prediction.GetModelMetadata
    nothing = get_model_metadata_pb2.GetModelMetadataRequest()
    assert failure(call, nothing) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    expected = ("INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field")
    assert failure(call, request_of("nope")) == expected
    expected = ("INVALID_ARGUMENT", "Metadata field F is not supported")
    assert failure(call, request_of("nope", "signature_def", "F")) == expected
    expected = ("INVALID_ARGUMENT", "ModelSpec has no name specified.")
    assert failure(call, request_of("", "signature_def")) == expected
    request = request_of("tf1", "signature_def")
    request.model_spec.version_label = "L"
    assert failure(call, request) == ("INVALID_ARGUMENT", "Unrecognized servable version label: L")


@pytest.mark.rule("3.10", "4.5")
def test_both_protocols_show_the_same_signatures(client: Grpc, server: Running) -> None:
    over_grpc = signatures(client.metadata("tf2"))
    status, text = server.ask("GET", "/v1/models/tf2/metadata")
    over_rest = json.loads(text)["metadata"]["signature_def"]["signature_def"]
    assert status == 200
    assert over_rest.keys() == over_grpc.keys() == {"serving_default", "regress", "__saved_model_init_op"}
    for name, signature in over_grpc.items():
        ends = {alias: info.name for alias, info in signature.inputs.items()}
        assert {alias: info["name"] for alias, info in over_rest[name]["inputs"].items()} == ends
