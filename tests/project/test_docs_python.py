"""docs/python.md: what stands in its blocks happens, in this order."""

import doctest
import re

import tsfast
from support.places import ROOT
from support.queues import Queue

PAGE = ROOT / "docs" / "python.md"


def test_the_page_for_programs(queue: Queue, api: tsfast.Queue) -> None:
    text = PAGE.read_text()
    blocks = [(match.start(), match[1]) for match in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.M)]
    examples = [
        doctest.Example(example.source, example.want, example.exc_msg, example.lineno + text[:at].count("\n") + 1)
        for at, block in blocks
        for example in doctest.DocTestParser().get_examples(block)
    ]
    assert len(blocks) > 10
    told: list[str] = []
    test = doctest.DocTest(examples, {"__name__": "__main__"}, "python.md", str(PAGE), 0, text)
    failed, tried = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(test, out=told.append)
    assert tried == len(examples)
    assert not failed, "".join(told)
