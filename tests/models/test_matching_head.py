"""The fusion head: padding is not read, every part learns, order and place count."""

import pytest
import torch

from prdlib.models.matching_head import MatchingHead


@pytest.fixture
def head():
    torch.manual_seed(0)
    return MatchingHead(word_dim=24, region_dim=16, regions=9, width=32, layers=2).eval()


def inputs(number=2, words=5):
    source = torch.Generator().manual_seed(1)
    return torch.randn(number, words, 24, generator=source), torch.randn(number, 9, 16, generator=source)


@torch.no_grad()
def test_words_beyond_a_report_are_not_read(head):
    words, regions = inputs()
    mask = torch.tensor([[True, True, True, False, False], [True] * 5])
    changed = words.clone()
    changed[0, 3:] = 7.0
    torch.testing.assert_close(head(words, mask, regions), head(changed, mask, regions))
    alone = head(words[:1, :3], mask[:1, :3], regions[:1])
    torch.testing.assert_close(alone, head(words, mask, regions)[:1])


@torch.no_grad()
def test_where_a_region_lies_counts(head):
    words, regions = inputs()
    mask = torch.ones(2, 5, dtype=torch.bool)
    turned = regions.flip(1)
    assert not torch.isclose(head(words, mask, regions), head(words, mask, turned)).any()


def test_every_weight_learns(head):
    words, regions = inputs()
    head.train()(words, torch.ones(2, 5, dtype=torch.bool), regions).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters() if p.ndim > 1)


def test_a_width_without_whole_heads_is_refused():
    with pytest.raises(ValueError, match="multiple of 32"):
        MatchingHead(8, 8, 4, width=40)


def test_it_learns_to_bind_words_to_places():
    """'a at the first place, b at the second' against 'b at the first place, a at the second': the same words, the same things in
    the image, so that only who asks each place for its thing can tell. Unseen images, chance 1/2."""
    source = torch.Generator().manual_seed(0)

    def asked(number):
        things = torch.rand(number, 6, generator=source).argsort(dim=1)[:, :2]  # which thing lies at either place
        regions = torch.nn.functional.one_hot(things, 6).float()
        match = torch.rand(number, generator=source) < 0.5
        said = torch.where(match[:, None], things, things.flip(1))
        words = torch.cat([torch.nn.functional.one_hot(said, 6).float(), torch.eye(2).expand(number, 2, 2)], dim=2)
        return words, torch.ones(number, 2, dtype=torch.bool), regions, match.float()

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = MatchingHead(word_dim=8, region_dim=6, regions=2, width=32, layers=2)
        optimizer = torch.optim.AdamW(head.parameters(), lr=2e-3)
        for _ in range(300):
            *given, match = asked(64)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(head(*given), match)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    *given, match = asked(500)
    with torch.no_grad():
        right = ((head.eval()(*given) > 0) == (match > 0)).float().mean()
    assert right > 0.9
