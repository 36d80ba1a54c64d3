"""The page of a run: one file that asks for nothing, with a film that can be played or drawn by hand."""

import base64
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from sgm_jax import report

FRAMES = 5
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
# What a reader does, and what is then seen: appended to the page.
ACTS = """
<script>
const [image, button, slider, label] = ["img", "button", "input", "output"]
  .map((tag) => document.querySelector(`.player ${tag}`));
const { frames } = JSON.parse(document.querySelector(".player script").textContent);
const shown = () => [frames.indexOf(image.src), +slider.value, label.value, button.textContent];
const seen = [shown()];
slider.value = 1;
slider.dispatchEvent(new Event("input"));
seen.push(shown());
button.click();
setTimeout(() => { seen.push(shown()); button.click(); seen.push(shown()); button.click(); }, 180);
setTimeout(() => {
  seen.push(shown());
  seen.push([document.documentElement.scrollWidth <= innerWidth, performance.getEntriesByType("resource").length]);
  document.title = JSON.stringify(seen);
}, 3000);
</script>
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    film = np.random.default_rng(0).integers(0, 256, (FRAMES, 4, 8, 8, 1), np.uint8)
    content = report.Report("film", animation=film, animation_levels=np.geomspace(10, 0.1, FRAMES))
    return report.write(tmp_path_factory.mktemp("page"), content), film


def test_page_asks_for_nothing_and_suits_dark_screens_and_phones(page):
    text = page[0].read_text()
    assert not re.search(r"https?://|@import|<link|url\(", text)
    assert all(source.startswith("data:image/") for source in re.findall(r'src="([^"]*)"', text))
    assert "prefers-color-scheme: dark" in text and "width=device-width" in text


def test_film_has_every_state_with_its_noise_level(page):
    path, film = page
    text = path.read_text()
    content = json.loads(re.search(r'<script type="application/json">(.*?)</script>', text, re.S)[1])
    assert len(content["frames"]) == FRAMES and f'max="{FRAMES - 1}"' in text
    assert content["labels"][0] == "frame 1 of 5, noise level 10"
    for frame, states in zip(content["frames"], film, strict=True):
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(frame.partition(",")[2]))))
        np.testing.assert_array_equal(picture, report.grid(states)[..., 0])
    with Image.open(path.with_name("animation.gif")) as gif:
        assert gif.n_frames == FRAMES


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome on the path")
def test_film_is_moved_by_hand_and_played_in_a_browser(page, tmp_path):
    acted = tmp_path / "index.html"
    acted.write_text(page[0].read_text().replace("</body>", ACTS + "</body>"))
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=390,844", "--virtual-time-budget=5000"]
    command = [BROWSER, *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", acted.as_uri()]
    document = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    seen = json.loads(re.search(r"<title>(.*?)</title>", document, re.S)[1])
    last = "frame 5 of 5, noise level 0.1"
    assert seen[0] == [4, 4, last, "Play"]
    assert seen[1] == [1, 1, "frame 2 of 5, noise level 3.16", "Play"]
    assert seen[2] == [2, 2, "frame 3 of 5, noise level 1", "Pause"] and seen[3][3] == "Play"
    assert seen[4] == [4, 4, last, "Play"]
    assert seen[5] == [True, 0]  # nothing sticks out sideways, nothing was fetched
