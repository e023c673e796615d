"""Controls of an avatar in nerfstudio's viewer: what is shown, by sliders, by playback, from a file or live."""
