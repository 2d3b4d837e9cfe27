"""The page in a real browser: search, order, brush, detail view, keys, links, tabs; on a wide screen and on a phone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import NUM_IMAGES, Watched

Watch = Callable[..., Watched]


def test_search_finds_words_phrases_and_exclusions_as_one_types(watch: Watch, site: str) -> None:
    watched = watch()
    page = watched.open(site)
    assert watched.count == "120 images"

    page.fill("#search", "dog")
    assert watched.count == "24 of 120 images"
    assert watched.first_ids() == ["photo-000", "photo-005", "photo-010"]
    page.fill("#search", '"number 1" dog')
    assert watched.count == "6 of 120 images"  # 10, 15, 100, 105, 110 and 115
    page.fill("#search", "DOG -number")
    assert watched.count == "0 of 120 images"
    assert page.is_visible("text=No image passes the filters.")


def test_search_in_references_candidates_and_by_regular_expression(watch: Watch, site: str) -> None:
    watched = watch()
    page = watched.open(site)
    page.fill("#search", "outside")
    assert watched.count == "120 images"
    page.select_option("#where", "candidates")
    assert watched.count == "0 of 120 images"

    page.select_option("#where", "all")
    page.click("#regex")
    page.fill("#search", "^a (dog|cat) number \\d$")
    assert watched.count == "4 of 120 images"  # 0, 5, 1, 6
    page.fill("#search", "(")
    assert "This is no regular expression" in watched.count
    assert page.get_attribute("#search", "aria-invalid") == "true"


def test_sort_by_a_score_and_by_the_difference_of_two_systems(watch: Watch, site: str) -> None:
    watched = watch()
    page = watched.open(site)
    page.select_option("#sort", "diff:CIDEr")
    assert watched.first_ids() == ["photo-119", "photo-118", "photo-117"]
    assert page.text_content(".card[data-place='0'] .change") == "+0.590"
    page.click("#reverse")
    assert watched.first_ids() == ["photo-000", "photo-001", "photo-002"]
    assert page.text_content(".card[data-place='0'] .change") == "\u22120.600"

    page.select_option("[aria-label='First system of the difference']", "1")
    assert watched.first_ids() == ["photo-119", "photo-118", "photo-117"], "lowest first, of the opposite difference"
    page.select_option("#sort", "log_prob:0")
    assert watched.first_ids() == ["photo-119", "photo-118", "photo-117"]


def test_a_brush_across_a_histogram_filters_and_can_be_cleared(watch: Watch, site: str) -> None:
    watched = watch()
    page = watched.open(site)
    box = page.locator("[data-key='score:CIDEr:0'] .plot").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, middle, steps=4)
    page.mouse.up()
    number = int(watched.count.split()[0])
    assert 28 <= number <= 31  # a quarter of 120
    assert watched.first_ids(1) == ["photo-060"]
    assert "range=score:CIDEr:0:0.59" in page.url

    page.fill("[aria-label='CIDEr, first, least']", "0.7")
    page.keyboard.press("Enter")
    assert watched.first_ids(1) == ["photo-070"]
    page.click("[aria-label='Clear the range of CIDEr, first']")
    assert watched.count == "120 images"


def test_detail_view_shows_everything_and_moves_in_the_order_of_the_grid(watch: Watch, site: str) -> None:
    watched = watch()
    page = watched.open(site + "#sort=diff:CIDEr")
    page.click(".card[data-place='0']")
    detail = page.locator("dialog.detail")
    detail.locator(".others").wait_for()
    text = detail.inner_text()
    assert "photo-119" in text
    assert "1 of 120" in text
    for part in (
        "a kite outside",
        "one kite",
        "log-probability \u221212.00",
        "the kite",
        "\u22124.50",
        "1.190",
        "0.600",
        "+0.590",
    ):
        assert part in text
    words = [word.text_content() for word in detail.locator(".word").all()]
    assert words == ["a", "kite", "number", "119", "⏎"]
    assert "probability 0.472" in detail.locator(".word").nth(2).get_attribute("title")  # exp(-0.5 - 0.25)

    page.keyboard.press("ArrowRight")
    assert "photo-118" in detail.inner_text()
    page.keyboard.press("Escape")
    detail.wait_for(state="hidden")
    assert "image=" not in page.url


def test_keys_search_move_open_sort_and_change_tabs(watch: Watch, site: str) -> None:
    watched = watch()
    page = watched.open(site)
    page.keyboard.press("/")
    page.keyboard.type("boat")
    assert watched.count == "24 of 120 images"
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith(
        "Image photo-008. first: a boat"
    )
    page.keyboard.press("Enter")
    assert "photo-008" in page.locator("dialog.detail").inner_text()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.place") == "1", "the focus returns to the card"

    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.dataset.place") == "23"
    page.keyboard.press("d")
    assert watched.first_ids(1) == ["photo-118"]
    page.keyboard.press("3")
    assert page.is_visible("text=Training loss")
    page.keyboard.press("?")
    assert page.is_visible("dialog#help")


def test_a_link_shows_what_its_sender_saw(watch: Watch, site: str) -> None:
    watched = watch()
    page = watched.open(site)
    page.fill("#search", "cat")
    page.select_option("#sort", "diff:CIDEr")
    page.fill("[aria-label='CIDEr, first, most']", "0.8")
    page.keyboard.press("Enter")
    page.click(".card[data-place='1']")
    address = page.url

    other = watch()
    page = other.open(address)
    assert page.input_value("#search") == "cat"
    assert other.count == "16 of 120 images"
    assert "photo-071" in page.locator("dialog.detail").inner_text()
    page.keyboard.press("Escape")
    assert other.first_ids(2) == ["photo-076", "photo-071"]


def test_an_address_with_nonsense_still_opens(watch: Watch, site: str) -> None:
    watched = watch()
    watched.open(
        site + "#tab=%3Cscript%3E&sort=score:nothing:9&image=none&hide=0,1,2&pair=7,7&range=diff:x:1..2&range=a"
    )
    assert watched.count == "120 images"


def test_only_cards_near_the_window_exist(watch: Watch, site: str) -> None:
    watched = watch()
    page = watched.open(site)
    assert 3 <= page.locator(".card").count() < NUM_IMAGES / 2
    page.evaluate("document.querySelector('#scroller').scrollTop = 1e9")
    page.wait_for_selector(f".card[data-place='{NUM_IMAGES - 1}']")
    assert page.locator(".card").count() < NUM_IMAGES / 2
    assert page.locator(".card[data-place='0']").count() == 0
    assert page.evaluate("document.querySelector('.card img').naturalWidth") == 60


def test_words_are_coloured_where_probabilities_are_stored(watch: Watch, site: str) -> None:
    page = watch().open(site)
    page.check("text=Colour words by probability")
    card = page.locator(".card[data-place='1']")
    card.locator(".word").first.wait_for()
    doubts = card.locator(".word").evaluate_all("words => words.map((word) => word.style.getPropertyValue('--doubt'))")
    assert doubts == ["3%", "75%", "19%", "5%", "1%"]  # -log p / 4, in percent: a, cat, num+ber, 1, the end
    assert card.locator("[data-system='1'] .caption").text_content() == "a thing"


def test_tabs_show_scores_curves_and_the_settings_that_differ(watch: Watch, site: str) -> None:
    page = watch().open(site + "#tab=scores")
    rows = [row.inner_text().split("\t") for row in page.locator("#panel-scores tr").all()]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["split test", "first", "second", "difference"],
        ["CIDEr", "0.5950", "0.6000", "\u22120.005"],
        ["checkpoint", "step 10", "step 20", ""],
    ]
    assert page.is_visible("text=first: a warning of the run")
    page.click("#tab-training")
    assert "first: 3.000 at step 1, 2.000 at step 2" in page.locator("svg.chart").get_attribute("aria-label")
    rows = [row.inner_text().split("\t") for row in page.locator("#panel-training tr").all()]
    assert rows == [["epoch", "image val-1"], ["1", "a a a"], ["2", "a hat"], ["reference", "a hat"]]
    page.click("#tab-settings")
    assert "1 of 2 settings differ" in page.inner_text("#panel-settings")
    assert "/seed" not in page.inner_text("#panel-settings")
    page.check("text=Show settings that are equal too")
    assert "/seed" in page.inner_text("#panel-settings")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_one_column_without_sideways_scrolling(watch: Watch, site: str, scheme: str) -> None:
    watched = watch(400, 800, color_scheme=scheme)
    page = watched.open(site)
    wide = "document.documentElement.scrollWidth > innerWidth"
    assert not page.evaluate(wide)
    first, second = (page.locator(f".card[data-place='{place}']").bounding_box() for place in (0, 1))
    assert first["x"] == second["x"]
    assert first["width"] > 340
    page.click("#filters")
    assert page.is_visible("text=Distributions")
    page.click("#filters")
    page.click(".card[data-place='0']")
    assert page.is_visible("dialog.detail")
    assert not page.evaluate(wide)
    background = page.evaluate("getComputedStyle(document.querySelector('dialog.detail')).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")


def test_hidden_systems_leave_the_cards_and_the_search(watch: Watch, site: str) -> None:
    watched = watch()
    page = watched.open(site)
    page.fill("#search", "thing")
    assert watched.count == "120 images"
    page.uncheck(".system-row:nth-of-type(2) input")
    assert watched.count == "0 of 120 images"
    page.fill("#search", "")
    assert page.locator(".card[data-place='0'] .candidate").count() == 1
    assert page.is_disabled(".system-row:nth-of-type(1) input"), "one system stays"
