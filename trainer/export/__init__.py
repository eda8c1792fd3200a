"""Export and import: a model as a folder that other programs load, and such a folder as a model.

    checkpoint ─ export_model ─▶ config.json, *.safetensors, tokenizer files, README.md
    folder ─ read_model ─▶ shape, weights, tokenizer ─ import_model ─▶ checkpoint

Three layouts: ``granite`` (transformers' GraniteForCausalLM, which has MiniCPM's multipliers),
``llama`` (LlamaForCausalLM, the multipliers folded into the weights) and ``minicpm`` (MiniCPM's
own). :mod:`~trainer.export.layouts` has them by name, :mod:`~trainer.export.names` the names of
tensors, :mod:`~trainer.export.stock` the forward pass that the layouts' readers make, by which an
export is checked before it is published. In a folder with a trained run:

>>> from pipelines.run.model_export import chosen_checkpoint
>>> from trainer.checkpoints.weights import model_of
>>> from trainer.export.export import export_model
>>> from trainer.export.read import import_model
>>> checkpoint = chosen_checkpoint("runs", "trained")
>>> done = export_model(checkpoint, "model")
>>> done.logits.largest_difference < 1e-4
True
>>> model_of(import_model(done.folder, "imported")).config == model_of(checkpoint).config
True
"""
