import pytest
from PIL import Image, ImageSequence

from experiments import moving_picture


@pytest.mark.long
def test_picture_moves(tmp_path, monkeypatch):
    short = moving_picture.moving_picture(steps=40, frames=2)
    monkeypatch.setattr(moving_picture, "moving_picture", lambda: short)
    file = tmp_path / "new" / "picture.gif"
    moving_picture.write(file)
    with Image.open(file) as picture:
        shown = [frame.convert("L").tobytes() for frame in ImageSequence.Iterator(picture)]
    assert len(shown) == len(set(shown)) == 3
