"""Models for the tests of sherpa-onnx: tiny, hand-made, with what a trained one has outside and nothing inside.

Ears tell two tones apart by the energy of two bands: 500 Hz is the first word, 2000 Hz the second, and quiet is nothing.
Voices make a tone as long as there are tokens. Usage: models.py FOLDER
"""

import importlib.util
import os
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, INT32 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32
# Mel bins (of 80, 20 to 7600 Hz) around 500 Hz and around 2000 Hz.
LOW, HIGH = (10, 25), (36, 56)


def constant(name, values, kind=np.int64):
    return numpy_helper.from_array(np.array(values, dtype=kind), name)


def node(kind, inputs, outputs, **attributes):
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def put(path, content):
    """Whole or not at all: another run of the tests may be reading."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def save(path, nodes, inputs, outputs, constants, metadata):
    graph = helper.make_graph(nodes, "hand-made", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {key: str(value) for key, value in metadata.items()})
    onnx.checker.check_model(model)
    put(path, model.SerializeToString())


def tensor(name, kind, *shape):
    return helper.make_tensor_value_info(name, kind, list(shape))


def bands(threshold, every):
    """From features `x` to scores for blank, first and second word (`scores`), of each `every`th frame."""
    nodes = [
        node("Slice", "x low_from low_to axis2", "low_bins"),
        node("Slice", "x high_from high_to axis2", "high_bins"),
        node("ReduceMax", "low_bins", "low", axes=[2], keepdims=1),
        node("ReduceMax", "high_bins", "high", axes=[2], keepdims=1),
        node("Mul", "low zero", "nothing"),
        node("Add", "nothing threshold", "blank"),
        node("Concat", "blank low high", "all_scores", axis=2),
        node("Slice", "all_scores first last axis1 step", "scores"),
    ]
    constants = [
        constant("low_from", [LOW[0]]), constant("low_to", [LOW[1]]),
        constant("high_from", [HIGH[0]]), constant("high_to", [HIGH[1]]),
        constant("axis1", [1]), constant("axis2", [2]),
        constant("first", [0]), constant("last", [1 << 30]), constant("step", [every]),
        constant("zero", 0, np.float32), constant("threshold", threshold, np.float32),
    ]
    return nodes, constants


# What a streaming Zipformer2 keeps between chunks, as small as it can be. It goes through as it comes.
ZIPFORMER = dict(
    encoder_dims="4", query_head_dims="1", value_head_dims="1", num_heads="1", num_encoder_layers="1",
    cnn_module_kernels="2", left_context_len="1", T="16", decode_chunk_len="16",
)
STATES = [
    ("key", FLOAT, [1, "N", 1]), ("nonlin", FLOAT, [1, "N", 1, 3]), ("value1", FLOAT, [1, "N", 1]),
    ("value2", FLOAT, [1, "N", 1]), ("conv1", FLOAT, ["N", 4, 1]), ("conv2", FLOAT, ["N", 4, 1]),
    ("embed", FLOAT, ["N", 128, 3, 19]), ("processed", INT64, ["N"]),
]


def kept():
    nodes = [node("Identity", name, f"new_{name}") for name, _, _ in STATES]
    inputs = [tensor(name, kind, *shape) for name, kind, shape in STATES]
    return nodes, inputs, [tensor(f"new_{name}", kind, *shape) for name, kind, shape in STATES]


def write(path, text):
    put(path, text.encode())


def streaming(folder, file, output, kind):
    """A model that hears as the audio comes: 16 frames at a time, of which it scores every fourth."""
    nodes, constants = bands(0, 4)
    keep, states, new = kept()
    save(
        folder / file,
        nodes + [node("Identity", "scores", output)] + keep,
        [tensor("x", FLOAT, "N", 16, 80), *states],
        [tensor(output, FLOAT, "N", 4, 3), *new],
        constants,
        dict(ZIPFORMER, model_type=kind),
    )


def whole(folder, file, output, lengths, kind):
    """One that takes an utterance at a time, and tells how long its scores are."""
    nodes, constants = bands(0, 4)
    save(
        folder / file,
        nodes + [
            node("Identity", "scores", output),
            node("Add", "x_lens round", "longer"),
            node("Div", "longer step", lengths),
        ],
        [tensor("x", FLOAT, "N", "T", 80), tensor("x_lens", INT64, "N")],
        [tensor(output, FLOAT, "N", "L", 3), tensor(lengths, INT64, "N")],
        constants + [constant("round", [3])],
        dict(model_type=kind, version=1, comment="hand-made"),
    )


def yes_no(folder):
    write(folder / "tokens.txt", "<blk> 0\n▁YES 1\n▁NO 2\n")


def streaming_ctc(folder):
    streaming(folder, "ctc-epoch-1-avg-1-chunk-16-left-128.onnx", "log_probs", "zipformer2_ctc")
    yes_no(folder)


def streaming_transducer(folder):
    streaming(folder, "encoder-epoch-1-avg-1.int8.onnx", "encoder_out", "zipformer2")
    one_word(folder)


def transducer(folder):
    whole(folder, "encoder-epoch-1-avg-1.int8.onnx", "encoder_out", "encoder_out_lens", "zipformer2")
    one_word(folder)


def zipformer_ctc(folder):
    whole(folder, "model.int8.onnx", "log_probs", "log_probs_len", "zipformer2_ctc")
    yes_no(folder)


def one_word(folder):
    """Decoder and joiner of a transducer that says one word: once there is one, no other follows."""
    save(
        folder / "decoder-epoch-1-avg-1.onnx",
        [
            node("Gather", "y last", "token", axis=1),
            node("Greater", "token none", "spoken"),
            node("Cast", "spoken", "said", to=FLOAT),
            node("Mul", "said penalties", "decoder_out"),
        ],
        [tensor("y", INT64, "N", 2)],
        [tensor("decoder_out", FLOAT, "N", 3)],
        [constant("last", [1]), constant("none", [0]), constant("penalties", [[0, 1000, 1000]], np.float32)],
        dict(vocab_size=3, context_size=2),
    )
    save(
        folder / "joiner-epoch-1-avg-1.int8.onnx",
        [node("Sub", "encoder_out decoder_out", "logit")],
        [tensor("encoder_out", FLOAT, "N", 3), tensor("decoder_out", FLOAT, "N", 3)],
        [tensor("logit", FLOAT, "N", 3)],
        [],
        dict(joiner_dim=3),
    )
    write(folder / "tokens.txt", "<blk> 0\n是 1\n不 2\n")


def sense_voice(folder):
    """As SenseVoice: seven frames in one, and four tokens before the words: language, mood, kind of sound, figures."""
    # Samples are not normalised: 32768² is 20.8.
    nodes, constants = bands(20, 1)
    nodes += [
        # Scores of the words, and none for the other tokens: [N, T, 3] to [N, T, 8].
        node("Pad", "scores pads low_score", "words"),
        # One language token, as asked, and three that are always the same.
        node("Gather", "languages language", "language_token", axis=0),
        node("Unsqueeze", "language_token axis1", "language_frame"),
        node("Concat", "language_frame others", "before", axis=1),
        node("Concat", "before words", "logits", axis=1),
        # An input that is not used is dropped by the optimiser, and then missed.
        node("Identity", "x_length", "_x_length"),
        node("Identity", "text_norm", "_text_norm"),
    ]
    others = np.full((1, 3, 8), -100, dtype=np.float32)
    for frame, token in enumerate([5, 6, 7]):
        others[0, frame, token] = 100
    constants += [
        constant("pads", [0, 0, 0, 0, 0, 5]), constant("low_score", -100, np.float32),
        constant("languages", 200 * np.eye(8) - 100, np.float32), numpy_helper.from_array(others, "others"),
    ]
    save(
        folder / "model.int8.onnx",
        nodes,
        [
            tensor("x", FLOAT, 1, "T", 560), tensor("x_length", INT32, 1), tensor("language", INT32, 1),
            tensor("text_norm", INT32, 1),
        ],
        [tensor("logits", FLOAT, 1, "L", 8), tensor("_x_length", INT32, 1), tensor("_text_norm", INT32, 1)],
        constants,
        dict(
            model_type="sense_voice_ctc", comment="hand-made SenseVoice", vocab_size=8, lfr_window_size=7,
            lfr_window_shift=6, normalize_samples=0, with_itn=14, without_itn=15, lang_auto=3, lang_zh=3, lang_en=4,
            lang_ja=4, lang_ko=4, lang_yue=3, neg_mean=",".join(["0"] * 560), inv_stddev=",".join(["1"] * 560),
        ),
    )
    write(
        folder / "tokens.txt",
        "<blank> 0\n是 1\n不 2\n<|zh|> 3\n<|en|> 4\n<|NEUTRAL|> 5\n<|Speech|> 6\n<|woitn|> 7\n",
    )


def nemo_ctc(folder):
    """As NeMo's: bands before time, blank last."""
    nodes, constants = bands(-4, 1)
    save(
        folder / "model.onnx",
        [
            node("Transpose", "audio_signal", "x", perm=[0, 2, 1]),
            *nodes,
            node("Gather", "scores order", "logprobs", axis=2),
            node("Identity", "length", "_length"),
        ],
        [tensor("audio_signal", FLOAT, "N", 80, "T"), tensor("length", INT64, "N")],
        [tensor("logprobs", FLOAT, "N", "L", 3), tensor("_length", INT64, "N")],
        constants + [constant("order", [1, 2, 0])],
        dict(model_type="EncDecCTCModelBPE", vocab_size=2, subsampling_factor=1, normalize_type="", version=1),
    )
    write(folder / "tokens.txt", "▁YES 0\n▁NO 1\n<blk> 2\n")


def tone(folder, name, metadata, inputs, scale):
    """A voice: 100 ms of a tone for each token; its pitch is that of the speaker, where there is one."""
    save(
        folder / name,
        [
            node("Shape", f"{inputs[0].name}", "shape"),
            node("Gather", "shape one", "tokens"),
            node("Cast", "tokens", "count", to=FLOAT),
            *scale,
            node("Mul", "count stretch", "stretched"),
            node("Mul", "stretched per_token", "samples"),
            node("Range", "zero samples unit", "time"),
            node("Mul", "time step", "phase"),
            node("Sin", "phase", "wave"),
            node("Mul", "wave volume", "flat"),
            node("Unsqueeze", "flat axes", "audio"),
        ],
        inputs,
        [tensor("audio", FLOAT, 1, 1, "S")],
        [
            constant("one", 1), constant("zero", 0, np.float32), constant("unit", 1, np.float32),
            constant("per_token", 1600, np.float32), constant("step", 2 * np.pi * 1000 / 16000, np.float32),
            constant("volume", 0.25, np.float32), constant("axes", [0, 1]), constant("first", 0), constant("second", 1),
        ],
        dict(metadata, sample_rate=16000, n_speakers=1),
    )


def vits(folder):
    """With a lexicon, as vits-ljs: two words of two and three tokens."""
    scalars = [tensor(name, FLOAT, 1) for name in ("noise_scale", "length_scale", "noise_scale_w")]
    tone(
        folder,
        "vits-hand.onnx",
        dict(model_type="vits", comment="ljspeech", language="English", add_blank=0, punctuation=", . ! ?"),
        [tensor("x", INT64, 1, "L"), tensor("x_length", INT64, 1), *scalars],
        [node("Gather", "length_scale first", "stretch")],
    )
    write(folder / "tokens.txt", "  0\na 1\nb 2\n, 3\n. 4\n! 5\n? 6\n")
    write(folder / "lexicon.txt", "hello a b\nworld a b a\n")


def piper(folder):
    """Without one: it takes phonemes."""
    tone(
        folder,
        "en_US-hand-low.onnx",
        dict(model_type="vits", comment="piper", language="English", voice="en-us", has_espeak=1, add_blank=1),
        [tensor("input", INT64, 1, "L"), tensor("input_lengths", INT64, 1), tensor("scales", FLOAT, 3)],
        [node("Gather", "scales second", "stretch")],
    )
    phonemes = "abcdefhijklmnopstuvwxzæðŋɐɑɔəɚɛɜɡɪɹɾʃʊʌʒˈˌːθᵻ ,.!?;:"
    # As piper has it: pad, begin, end.
    lines = ["_ 0", "^ 1", "$ 2"] + [f"{symbol} {number}" for number, symbol in enumerate(phonemes, 3)]
    write(folder / "tokens.txt", "\n".join(lines) + "\n")
    (folder / "espeak-ng-data").mkdir(exist_ok=True)


root = pathlib.Path(sys.argv[1])
streaming_ctc(root / "streaming-ctc")
streaming_transducer(root / "streaming-transducer")
sense_voice(root / "sense-voice")
transducer(root / "transducer")
zipformer_ctc(root / "zipformer-ctc")
nemo_ctc(root / "nemo-ctc")
vits(root / "vits")
piper(root / "piper")
# Where the library is.
print(pathlib.Path(importlib.util.find_spec("sherpa_onnx").submodule_search_locations[0]) / "lib/libsherpa-onnx-c-api.so")
