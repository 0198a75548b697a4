from PIL import Image

from experiments import moving_picture


def test_picture_moves(tmp_path, monkeypatch):
    short = moving_picture.moving_picture(steps=40, frames=2)
    monkeypatch.setattr(moving_picture, "moving_picture", lambda: short)
    file = tmp_path / "new" / "picture.gif"
    moving_picture.main([str(file)])
    with Image.open(file) as picture:
        assert picture.n_frames == 3
        shown = []
        for frame in range(3):
            picture.seek(frame)
            shown.append(picture.convert("L").tobytes())
    assert len(set(shown)) == 3
