"""`spacy xner compare`: every way from the data that you have to a tagger of another language."""

from wasabi import msg

from spacy_xner.cli import compare_options as options
from spacy_xner.cli.app import verb
from spacy_xner.cli.options import Gpu, Numbers, Precision, split_names


@verb("compare")
def compare_cli(
    corpus: options.Corpus,
    out: options.Out,
    target: options.Target,
    language: options.Language = "en",
    source: options.Source = "",
    routes: options.RouteNames = "",
    upper_bound: options.UpperBound = False,
    parallel: options.Parallel = None,
    dictionary: options.Dictionary = None,
    reverse: options.Reverse = False,
    text: options.Text = None,
    grouping: options.Grouping = None,
    minutes: options.Minutes = 0.0,
    limit: options.Limit = 2000,
    dev_limit: options.DevLimit = 300,
    test_limit: options.TestLimit = 500,
    pairs: options.Pairs = 10_000,
    words: options.Words = 30_000,
    encoder: options.Encoder = "multilingual-e5-small",
    learn_rate: options.LearnRate = 2e-4,
    batch_size: options.BatchSize = 32,
    seed: options.Seed = 0,
    configs: options.Configs = None,
    precision: Precision = Numbers.auto,
    gpu: Gpu = -1,
) -> None:
    """Train every route that the data allows, and write compare.md, compare.json and a pipeline a route.

    Equal time (--minutes) counts training steps, those of a teacher included: their number comes from the
    speed of the first ones. It does not count evaluations and what is made before (projection, vectors,
    translations); the table's minutes count everything. A route that fails has its reason in the table, and
    is tried again by the next start.
    """
    from spacy_xner.routes.advice import HEADER
    from spacy_xner.routes.compare import choose_routes, compare_routes, train_route
    from spacy_xner.routes.task import Data, Settings, Task

    names = choose_routes(split_names(routes), upper_bound=upper_bound)
    settings = Settings(
        language=language, target=target, sources=tuple(split_names(source)), encoder=encoder, limit=limit,
        dev_limit=dev_limit, test_limit=test_limit, minutes=minutes, learn_rate=learn_rate,
        batch_size=batch_size, seed=seed,
    )  # fmt: skip
    data = Data(tuple(parallel or ()), dictionary, reverse, text, grouping, pairs, words)
    task = Task(corpus, out, settings, data, configs, precision.value, gpu)
    task.check()
    out.mkdir(parents=True, exist_ok=True)
    reasons = {}
    for name in names:
        outcome = train_route(name, task, on_start=msg.divider)
        if outcome.was_done:
            msg.info(f"{name}: done before")
        reasons[name] = outcome.reason
    report = compare_routes(task, reasons)
    msg.table(report.lines, header=HEADER, divider=True, max_col=60)
    for line in report.advice:
        msg.info(line)
    msg.good(str(report.path))
