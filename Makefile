# make setup | play | dream | test. Another Python: make setup PYTHON=python3.12
PYTHON ?= python3
PY = .venv/bin/python

.PHONY: setup play dream test clean

setup: .venv/.ready

.venv/.ready: req.txt
	@$(PYTHON) -c "import sys; v = sys.version_info[:2]; (3, 10) <= v <= (3, 13) or sys.exit('This needs Python 3.10 to 3.13 and $(PYTHON) is %d.%d: try  make setup PYTHON=python3.12' % v)"
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --disable-pip-version-check -q -r req.txt
	@touch $@

play: setup
	$(PY) sd/play_sd.py

# The whole road, small: minutes on two CPU cores. The README has the full runs.
dream: setup
	rm -rf output/dream
	$(PY) ppo/train_ppo.py --n-envs 8 --n-epochs 8 --n-steps 256 --record-envs 8 --output-dir output/dream/ppo
	$(PY) sd/train_autoencoder.py --trajectories output/dream/ppo/trajectories.npz --output-dir output/dream/autoencoder --max-minutes 2
	$(PY) sd/train_sd.py --trajectories output/dream/ppo/trajectories.npz --autoencoder-dir output/dream/autoencoder --output-dir output/dream/sd --max-minutes 4
	$(PY) sd/play_sd.py --decoder-path output/dream/sd/decoder.pt --model-path output/dream/sd/best.pt \
		--trajectory-path output/dream/sd/initial_sequence.npz --headless --frames 150 --record output/dream/dream.mp4

test: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pytest

clean:
	rm -rf .venv .pytest_cache .ruff_cache output/dream
