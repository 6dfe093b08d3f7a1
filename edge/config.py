"""The one typed configuration. `edge.configfile` fills it from a TOML file and the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator


def _expanded(path: Path) -> Path:
    """`~` replaced by the home directory; raises ValueError for a path that no system call would take."""
    if "\0" in str(path):
        raise ValueError("a path without a NUL character")
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"a home directory that is known ({error})") from error


UserPath = Annotated[Path, AfterValidator(_expanded)]
"""A path in which `~` is the home directory."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
"""A part of an MQTT topic: letters, digits, dot, dash, underscore."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Section(BaseModel):
    """A table of the configuration: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


class DeviceConfig(Section):
    """Who this device is and where it keeps what must not be lost."""

    site: Name = "site"
    device: Name = "device"
    state_dir: UserPath = Path("~/.local/state/sicklescope")


class CameraConfig(Section):
    """Where frames come from.

    device: for `opencv` an index ("0"), a path ("/dev/video0") or a GStreamer pipeline; for `replay` an image, a
    folder, a glob or a video. fps 0 means as fast as possible (replay, virtual) or the camera's own rate (opencv).
    """

    kind: Literal["virtual", "replay", "opencv"] = "opencv"
    device: str = "0"
    width: int | None = Field(default=None, ge=16, le=16384)
    height: int | None = Field(default=None, ge=16, le=16384)
    fps: float = Field(default=0.0, ge=0.0, le=1000.0)
    read_timeout_s: float = Field(default=5.0, gt=0.0)
    seed: int = Field(default=0, ge=0)
    frames: int | None = Field(default=None, ge=1)


class OpticsConfig(Section):
    """The size of a pixel on the slide; `auto` estimates it from the red cells and locks it for the sample."""

    um_per_px: Annotated[float, Field(ge=0.02, le=2.0)] | Literal["auto"] = "auto"


class QualityConfig(Section):
    """Limits a frame must meet to be read. `gate = false` measures and reads everything (for evaluation)."""

    gate: bool = True
    focus_min: float = Field(default=0.0, ge=0.0)
    exposure_dark_max: float = Field(default=0.5, gt=0.0, le=1.0)
    exposure_bright_max: float = Field(default=0.5, gt=0.0, le=1.0)
    motion_max: float = Field(default=1.0, gt=0.0)
    cells_per_mm2_min: float = Field(default=50.0, ge=0.0)
    crowding_max: float = Field(default=0.6, gt=0.0, le=1.0)
    megapixels_max: float = Field(default=64.0, gt=0.0)


class ModelConfig(Section):
    """A model file and its pinned digest; None means the shipped one. A path without a digest is refused."""

    path: UserPath | None = None
    sha256: Sha256 | None = None


class ModelsConfig(Section):
    """Which networks read the slide, and what runs them."""

    runtime: Literal["auto", "onnxruntime", "tensorrt"] = "auto"
    threads: int = Field(default=0, ge=0, description="0: one for each core")
    detector: ModelConfig = ModelConfig()
    classifier: ModelConfig = ModelConfig()


class ScreeningConfig(Section):
    """How cells are counted and when a count is enough."""

    keep_border: bool = False
    min_red_cells: int = Field(default=500, ge=1)
    target_red_cells: int = Field(default=1000, ge=1)


class MqttConfig(Section):
    """The broker and how to talk to it."""

    enabled: bool = True
    host: str = "localhost"
    port: int = Field(default=1883, ge=1, le=65535)
    protocol: Literal["5", "3.1.1"] = "5"
    client_id: str | None = None
    username: str | None = None
    password: SecretStr | None = None
    tls: bool = False
    ca_file: UserPath | None = None
    cert_file: UserPath | None = None
    key_file: UserPath | None = None
    keepalive_s: int = Field(default=30, ge=5, le=3600)
    interval_s: float = Field(default=1.0, gt=0.0, description="between two progress messages")
    telemetry_interval_s: float = Field(default=10.0, gt=0.0, description="between two telemetry messages")

    @model_validator(mode="after")
    def _credentials_are_whole(self) -> MqttConfig:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together: set both, or neither")
        if self.password is not None and self.username is None:
            raise ValueError("a password needs a username: set mqtt.username")
        return self


class Config(Section):
    """The whole configuration."""

    device: DeviceConfig = DeviceConfig()
    camera: CameraConfig = CameraConfig()
    optics: OpticsConfig = OpticsConfig()
    quality: QualityConfig = QualityConfig()
    models: ModelsConfig = ModelsConfig()
    screening: ScreeningConfig = ScreeningConfig()
    mqtt: MqttConfig = MqttConfig()
