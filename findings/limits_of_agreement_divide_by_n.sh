#!/usr/bin/env bash
# bland-altman 0.1.4, pyCompare 1.5.4 and statsmodels 0.14.6: limits of agreement that are too narrow.
#
# Bland and Altman (Lancet 1986) take the standard deviation of the differences, an estimate from a sample: n − 1 below.
# Expected: mean ± 1.96 SD with n − 1, as pingouin 0.5.5 draws it.
# Seen: the three draw SD with n. With 5 slides their limits are narrower by 11 %, with 10 by 5 %, with 40 by 1 %, and a device
# agrees better with the manual count than it does.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip --quiet --disable-pip-version-check install bland-altman==0.1.4 pyCompare==1.5.4 statsmodels==0.14.6 pingouin==0.5.5
MPLBACKEND=Agg env/bin/python - <<'PY'
import bland_altman
import matplotlib.pyplot as plt
import numpy as np
import pingouin
import pyCompare
import statsmodels.api as sm

device = np.array([2.1, 3.4, 5.0, 7.9, 10.2])
manual = np.array([2.0, 3.9, 4.4, 8.8, 9.5])
difference = device - manual


def upper_limit(draw) -> float:
    """Give the highest horizontal line that a function draws across the whole picture."""
    plt.close("all")
    draw()
    lines = [line.get_ydata() for line in plt.gcf().axes[0].lines]
    return float(max(ys[0] for ys in lines if len(set(ys)) == 1))


def limit(ddof: int) -> float:
    return float(difference.mean() + 1.96 * difference.std(ddof=ddof))


print(f"upper limit of 5 slides: with n − 1 {limit(1):.4f}, with n {limit(0):.4f}")
drawn = {
    "bland-altman": upper_limit(lambda: bland_altman.bland_altman_plot(device, manual)),
    "pyCompare": upper_limit(lambda: pyCompare.blandAltman(device, manual, confidenceInterval=None, ax=plt.figure().add_subplot())),
    "statsmodels": upper_limit(lambda: sm.graphics.mean_diff_plot(device, manual)),
    "pingouin": upper_limit(lambda: pingouin.plot_blandaltman(device, manual, confidence=None)),
}
for name, value in drawn.items():
    print(f"{name}: {value:.4f}")
for name in ("bland-altman", "pyCompare", "statsmodels"):
    assert abs(drawn[name] - limit(0)) < 1e-6, f"changed: {name} no longer divides by n"
assert abs(drawn["pingouin"] - limit(1)) < 1e-6, "changed: pingouin no longer divides by n - 1"
PY
