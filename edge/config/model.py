"""The one typed configuration. `edge.config.loader` fills it from a TOML file and the environment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)


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


def _index_as_text(value: object) -> object:
    """Return an index written as a number as the text that it stands for."""
    return str(value) if type(value) is int and value >= 0 else value


DeviceText = Annotated[str, BeforeValidator(_index_as_text)]
"""Text, or the index of a camera as a number."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


PublicKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{43}=$")]
"""An Ed25519 public key, raw, in base64."""

FetchFrom = Annotated[str, Field(pattern=r"^(https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9_.~/-]*)?|/[^\x00]*)$")]
"""An absolute folder, or an address without user, query or fragment."""


class Section(BaseModel):
    """A table of the configuration: frozen, and an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, use_attribute_docstrings=True
    )


class DeviceConfig(Section):
    """Who this device is and where it keeps what must not be lost."""

    site: Name = "site"
    """The clinic, as in the MQTT topics."""
    device: Name = "device"
    """This device, as in the MQTT topics; no two of a site are called the same."""
    state_dir: UserPath = Path("~/.local/state/sicklescope")
    """Folder of the results that wait for the broker."""


class PiCameraConfig(Section):
    """How a Raspberry Pi camera exposes (picamera2).

    What is not set is automatic, and may change between frames.
    """

    exposure_us: int | None = Field(default=None, ge=1, le=10_000_000)
    """Time of exposure, µs; set it together with gain."""
    gain: float | None = Field(default=None, ge=1.0, le=64.0)
    """Of the sensor, before digitising."""
    red_gain: float | None = Field(default=None, gt=0.0, le=32.0)
    """White balance, of red against green; set it together with blue_gain."""
    blue_gain: float | None = Field(default=None, gt=0.0, le=32.0)
    """White balance, of blue against green."""
    lens_shading: bool = False
    """Brighten the corners as the camera module's own lens needs it; a microscope has another."""

    @model_validator(mode="after")
    def _pairs_are_whole(self) -> PiCameraConfig:
        for one, other in (("exposure_us", "gain"), ("red_gain", "blue_gain")):
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                raise ValueError(f"{one} and {other} belong together: set both, or neither")
        return self


class CameraConfig(Section):
    """Where frames come from."""

    kind: Literal["virtual", "replay", "opencv", "picamera2", "openflexure"] = "opencv"
    """opencv, picamera2 (Raspberry Pi), openflexure: live. replay: images or a video. virtual: a rendered slide."""
    device: DeviceText = "0"
    """Index, path (/dev/video0), GStreamer pipeline; http://host:5000 (openflexure); image, folder, glob, video."""
    width: int | None = Field(default=None, ge=16, le=16384)
    """Pixels; the driver's own when not set, and an error when it gives something else."""
    height: int | None = Field(default=None, ge=16, le=16384)
    """Pixels, as width."""
    fps: float = Field(default=0.0, ge=0.0, le=1000.0)
    """Frames a second; 0 is the camera's own rate (opencv) or as fast as possible (replay, virtual)."""
    read_timeout_s: float = Field(default=5.0, gt=0.0, le=3600.0)
    """A live camera that gives no frame for so long is lost: its process is killed, and it is opened anew."""
    reconnect_s: float = Field(default=600.0, ge=0.0, le=31_622_400.0)
    """A live camera that was lost is tried again for so long; then the sample ends with what was counted."""
    seed: int = Field(default=0, ge=0)
    """Which slide is rendered (virtual)."""
    overlap: float = Field(default=0.0, ge=0.0, le=0.95)
    """Part of a field that the next one shows again (virtual); 0: no cell is in two fields."""
    frames: int | None = Field(default=None, ge=1, le=1_000_000_000)
    """The source ends after so many."""
    picamera2: PiCameraConfig = PiCameraConfig()


class OpticsConfig(Section):
    """The microscope."""

    um_per_px: Annotated[float, Field(ge=0.02, le=2.0)] | Literal["auto"] = "auto"
    """Size of a camera pixel on the slide, µm; auto: the calibration's, else estimated from a sample's red cells."""
    calibration: UserPath | None = None
    """File that sicklescope-calibrate wrote: pixel size, flat field, white balance of one objective on one camera."""
    objective: str | None = Field(default=None, min_length=1, max_length=64)
    """The objective in use, as you call it, such as 100x; a calibration of another one is flagged and not applied."""
    calibration_days: int = Field(default=180, ge=1, le=36_525)
    """After so many days a calibration is flagged on every result."""

    @model_validator(mode="after")
    def _objective_is_named(self) -> OpticsConfig:
        if self.calibration is not None and self.objective is None:
            raise ValueError("a calibration is of one objective: set optics.objective too, as it was named there")
        return self


class QualityConfig(Section):
    """Limits a frame must meet to be read.

    `gate = false` measures and reads everything (for evaluation).
    """

    gate: bool = True
    brightness_min: float = Field(default=0.3, ge=0.0, le=1.0, description="of the background, part of full scale")
    clipped_max: float = Field(default=0.8, gt=0.0, le=1.0, description="part of the slide at full scale")
    focus_min: float = Field(default=1.28, ge=0.0, description="fine edges against coarse; 1: no detail")
    motion_max: float = Field(default=0.19, gt=0.0, le=1.0, description="0: sharp in all directions; 1: in one")
    cells_per_mm2_min: float = Field(default=150.0, ge=0.0)
    crowding_max: float = Field(default=0.85, gt=0.0, le=1.0, description="part of the slide under cells")
    stacked_max: float = Field(default=0.65, gt=0.0, le=1.0, description="part of the red cells that lie on others")
    megapixels_max: float = Field(default=64.0, gt=0.0, le=10_000.0)


class ModelConfig(Section):
    """A model file; without one the shipped model is used."""

    path: UserPath | None = None
    """ONNX file, relative to this one."""
    sha256: Sha256 | None = None
    """Digest of the file; a path without it is refused."""


class TensorRtConfig(Section):
    """How engines are built, on NVIDIA GPUs."""

    workspace_mb: int | None = Field(default=None, ge=16, le=65536)
    """Memory the builder may use for a layer's scratch space; else all that is free."""
    optimization_level: int = Field(default=3, ge=0, le=5)
    """0 builds soonest, 5 searches longest for the fastest engine."""
    dla_core: int | None = Field(default=None, ge=0, le=1)
    """A Jetson's deep-learning accelerator, where it has one and TensorRT still supports it; else the GPU alone."""


class ModelsConfig(Section):
    """Which networks read the slide, and what runs them."""

    runtime: Literal["auto", "onnxruntime", "tensorrt"] = "auto"
    """auto chooses; a named runtime is never replaced by another."""
    precision: Literal["auto", "fp32", "fp16", "int8"] = "auto"
    """Of the networks. auto: INT8 of the shipped models; your own as they are typed. fp16 is for TensorRT alone."""
    threads: int = Field(default=0, ge=0, le=1024)
    """0: one for each core."""
    accept_from: tuple[PublicKey, ...] = ()
    """Public keys of who may sign bundles of models, as `sicklescope-fleet bundle key` prints; none: none is taken."""
    fetch_from: FetchFrom | None = None
    """Where offered bundles lie: a folder, or http(s)://host/path; offers are taken where this is set."""
    switch: Literal["between_samples", "after_control"] = "between_samples"
    """When a bundle that waits is used; after_control: once a control slide was read and passed meanwhile."""
    tensorrt: TensorRtConfig = TensorRtConfig()
    detector: ModelConfig = ModelConfig()
    classifier: ModelConfig = ModelConfig()

    @model_validator(mode="after")
    def _offers_are_signed(self) -> ModelsConfig:
        if self.fetch_from is not None and not self.accept_from:
            raise ValueError("fetch_from needs accept_from: nothing is taken of which nobody says who signed it")
        return self


class StopConfig(Section):
    """When the scanning of a sample ends by itself; it ends by the first rule that is met."""

    at_target: bool = True
    """At screening.target_red_cells."""
    fields: int | None = Field(default=None, ge=1, le=1_000_000)
    """After so many fields that were read."""
    minutes: float | None = Field(default=None, gt=0.0, le=10_080.0)
    """So long after its first frame."""


def _compiled(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from error
    return pattern


class ScreeningConfig(Section):
    """How cells are counted and when a count is enough."""

    keep_border: bool = False
    """Count cells cut by the border too (for evaluation)."""
    min_red_cells: int = Field(default=500, ge=1, le=100_000_000)
    """Below this the verdict is `insufficient`."""
    target_red_cells: int = Field(default=1000, ge=1, le=100_000_000)
    """The aim; fewer are flagged."""
    start: Literal["asked", "at_once"] = "asked"
    """asked: `sicklescope run` waits until a sample is started. at_once: it reads one and ends, as with --sample."""
    sample_pattern: Annotated[str, AfterValidator(_compiled)] = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
    """Regular expression that a whole sample code must match; the clinic's own code, never a patient's name."""
    store_interval_s: float = Field(default=1.0, ge=0.0, le=3600.0)
    """Between two writings of a sample in progress: what a power cut may cost."""
    stop: StopConfig = StopConfig()


class ControlConfig(Section):
    """Control slides (`sicklescope control`), and what results say when they are not in order."""

    enforce: Literal["off", "mark", "withhold"] = "off"
    """off: results say nothing of control slides. mark: a flag when one failed or is overdue. withhold: no figures."""
    days: float = Field(default=1.25, gt=0.0, le=366.0)
    """A control slide is overdue so long after it was read; 1.25: once a day, with six hours to spare."""


class MqttConfig(Section):
    """The broker and how to talk to it."""

    enabled: bool = True
    """false: nothing is sent or kept for sending."""
    host: str = "localhost"
    port: int = Field(default=1883, ge=1, le=65535)
    """Usually 1883, or 8883 with TLS."""
    protocol: Literal["5", "3.1.1"] = "5"
    """With 3.1.1 a result that the broker's access list denies looks as if it had been taken."""
    client_id: str | None = None
    """Else made of site and device."""
    username: str | None = None
    password: SecretStr | None = None
    """Better given by the environment, SICKLESCOPE_MQTT__PASSWORD, or by systemd: docs/install.md."""
    tls: bool = False
    ca_file: UserPath | None = None
    """Certificate authority of the broker, PEM; else those that the system trusts."""
    cert_file: UserPath | None = None
    """This device's certificate, PEM, with key_file."""
    key_file: UserPath | None = None
    """Its key, PEM, without a password."""
    keepalive_s: int = Field(default=30, ge=5, le=3600)
    """The broker notices after one and a half times this that the device is gone."""
    interval_s: float = Field(default=1.0, gt=0.0, le=3600.0)
    """Between two progress messages."""
    telemetry_interval_s: float = Field(default=10.0, gt=0.0, le=86_400.0)
    """Between two telemetry messages."""
    replay_per_s: float = Field(default=20.0, ge=0.0, le=1000.0)
    """So many messages a second are sent of those that have waited for the broker; 0: as many as it takes."""

    commands: bool = False
    """Take commands over MQTT (start, stop, discard, reopen, resend), authenticated with command_secret."""
    command_secret: SecretStr | None = None
    """Shared with who may command; at least 16 characters. Better given as a credential or by the environment."""
    home_assistant: bool = False
    """Tell Home Assistant of this device by a retained message below homeassistant/device; no result is shown there."""

    @field_validator("host")
    @classmethod
    def _host_is_a_name_alone(cls, host: str) -> str:
        if re.search(r"[\s/@\[\]]", host) or re.fullmatch(r"[^:]*:\d*", host) or not host:
            raise ValueError("a name or an address alone, such as broker.example; the port is mqtt.port, TLS mqtt.tls")
        return host

    @model_validator(mode="after")
    def _commands_have_a_secret(self) -> MqttConfig:
        if self.commands and (self.command_secret is None or len(self.command_secret.get_secret_value()) < 16):
            raise ValueError("commands need a secret of at least 16 characters: set mqtt.command_secret")
        return self

    @model_validator(mode="after")
    def _credentials_are_whole(self) -> MqttConfig:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together: set both, or neither")
        if self.password is not None and self.username is None:
            raise ValueError("a password needs a username: set mqtt.username")
        return self


class RetentionConfig(Section):
    """How long things are kept. Looked after at each start and at the end of each sample.

    Ages need a set clock.
    """

    images_mb: int = Field(default=200, ge=1, le=10_000_000)
    """Pictures, MB in all; beyond it fields go before cells, oldest reviewed samples first. Results never go."""
    pictures_mb_per_day: int = Field(default=300, ge=0, le=10_000_000)
    """Pictures of fields written in a day, MB, which spares a flash card; 0 keeps none."""
    images_days: int | None = Field(default=None, ge=1, le=36_525)
    """Pictures of cells and fields, days after the last change of their sample; else as long as the sample."""
    samples_days: int | None = Field(default=None, ge=1, le=36_525)
    """Samples whose results the broker took, days after their last change; they are then erased. Else for ever."""


class WebConfig(Section):
    """The device's page and API for browsers; programs use the socket in device.state_dir."""

    port: int | None = Field(default=None, ge=1, le=65535)
    """Of the page. Alone it is for a browser on this device, and for anyone logged in here until a user is added."""
    host: str | None = Field(default=None, min_length=1, max_length=253)
    """Address to listen on for other devices, 0.0.0.0 for all; only by TLS, and once a user was added."""
    certificate: UserPath | None = None
    """This device's certificate, PEM, for TLS."""
    key: UserPath | None = None
    """Its key, PEM, without a password."""
    names: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,253}$")], ...] = ()
    """Further names by which browsers call this device, beside its host name, with .local, and its addresses."""
    fhir: bool = False
    """Whether the API gives results as FHIR R4B to laboratory systems; needs the extra `laboratory`."""

    @model_validator(mode="after")
    def _network_needs_tls(self) -> WebConfig:
        if self.host is not None and (self.port is None or self.certificate is None or self.key is None):
            raise ValueError(
                "web.host needs web.port, web.certificate and web.key too: a password is sent by TLS alone"
            )
        return self


class Config(Section):
    """The whole configuration."""

    device: DeviceConfig = DeviceConfig()
    camera: CameraConfig = CameraConfig()
    optics: OpticsConfig = OpticsConfig()
    quality: QualityConfig = QualityConfig()
    models: ModelsConfig = ModelsConfig()
    screening: ScreeningConfig = ScreeningConfig()
    control: ControlConfig = ControlConfig()
    mqtt: MqttConfig = MqttConfig()
    web: WebConfig = WebConfig()
    retention: RetentionConfig = RetentionConfig()
