"""The table of tensors, and the groups that stand for many of them."""

from ome_iac.models.tensors import Kind, TensorInfo, TensorTable


def table() -> TensorTable:
    made = TensorTable()
    for shard, layers in (("a", (0, 1)), ("b", (2,))):
        for layer in layers:
            made.append(f"model.layers.{layer}.norm.weight", "BF16", (8,), 16, shard)
            for expert in range(10):
                made.append(f"model.layers.{layer}.mlp.experts.{expert}.up.weight", "BF16", (4, 8), 64, shard)
    made.append("lm_head.weight", "F32", (2, 8), 64, "b")
    return made


def test_rows_and_look_up() -> None:
    made = table()
    assert len(made) == 34
    assert made.shards == ("a", "b")
    assert made.bytes == 3 * 16 + 30 * 64 + 64
    assert made.get("model.layers.2.norm.weight") == TensorInfo("model.layers.2.norm.weight", "BF16", (8,), 16, "b")
    assert made.get("none") is None
    assert "lm_head.weight" in made
    assert made.shard_of()["model.layers.1.norm.weight"] == "a"
    assert [tensor.name for tensor in made] == list(made.names)


def test_groups_say_what_all_tensors_say() -> None:
    groups = list(table().groups())
    assert [(group.example.name, group.times) for group in groups] == [
        ("model.layers.0.norm.weight", 1),
        ("model.layers.0.mlp.experts.0.up.weight", 10),
        ("model.layers.1.norm.weight", 1),
        ("model.layers.1.mlp.experts.0.up.weight", 10),
        ("model.layers.2.norm.weight", 1),
        ("model.layers.2.mlp.experts.0.up.weight", 10),
        ("lm_head.weight", 1),
    ]
    assert sum(group.example.bytes * group.times for group in groups) == table().bytes


def test_tensors_of_other_shapes_are_other_groups() -> None:
    made = TensorTable()
    made.append("h.0.experts.1.w", "F32", (1,), 4, "a")
    made.append("h.0.experts.2.w", "F32", (2,), 8, "a")
    made.append("h.0.experts.3.w", "F16", (2,), 4, "a")
    assert [group.times for group in made.groups()] == [1, 1, 1]


def test_matrices_of_one_shape_and_unnumbered_experts_stay_apart() -> None:
    made = TensorTable()
    for name in ("h.0.experts.0.w1", "h.0.experts.0.w3", "h.0.experts.gate_up", "h.1.experts.0.w1", "h.0.experts.1.w1"):
        made.append(name, "F32", (1,), 4, "a")
    assert [(group.example.name, group.times) for group in made.groups()] == [
        ("h.0.experts.0.w1", 2),
        ("h.0.experts.0.w3", 1),
        ("h.0.experts.gate_up", 1),
        ("h.1.experts.0.w1", 1),
    ]


def test_joining_tables_keeps_shards_and_kinds() -> None:
    one, other = table(), TensorTable()
    other.add_shard("c", ["extra"], [Kind("F32", (2, 8), 64)], {"format": "pt"})
    one.extend(other)
    assert one.shards == ("a", "b", "c")
    assert one.get("extra") == TensorInfo("extra", "F32", (2, 8), 64, "c")
    assert one.metadata == {"format": "pt"}
    assert list(one.repeated()) == []
    one.extend(other)
    assert list(one.repeated()) == ["extra"]
