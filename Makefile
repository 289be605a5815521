# make setup | play | web | mine | dream | test | pretrained. Another Python: make setup PYTHON=python3.12
.DEFAULT_GOAL := help
PYTHON ?= python3
PY = .venv/bin/python
GPU := $(shell command -v nvidia-smi)
BIG_GPU := $(shell nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits 2>/dev/null | awk '$$1 > 30000' | head -n 1)

define install
	@$(PYTHON) -c "import sys; v = sys.version_info[:2]; (3, 10) <= v <= (3, 13) or sys.exit('This needs Python 3.10 to 3.13 and $(PYTHON) is %d.%d: try  make $(MAKECMDGOALS) PYTHON=python3.12' % v)"
	@echo "installing $< in .venv: a few minutes"
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --disable-pip-version-check -q -r $<
	@touch $@
endef

.PHONY: help setup play web dream mine agents pretrained test clean

help:
	@echo "make play        opens the pretrained model in a window (installs 340 MB first)"
	@echo "make web         exports the pretrained model as a web page and serves it on this machine (needs npm; installs everything first, as setup)"
	@echo "make mine        makes a world model of your own game: GAME=LunarLander-v3, VIDEOS=folder or RECORDING=file.npz,"
	@echo "                 in 45 minutes on two CPU cores (MINUTES=480: better)"
	@echo "make setup       installs everything in .venv (6 GB)"
	@echo "make dream       trains a small model of your own, from game to video, in nine minutes on two CPU cores"
	@echo "make agents      agents that learn in a model of random play, in 20 races of the real game: two hours on a CPU"
	@echo "make pretrained  trains everything from scratch and replaces the pretrained models (hours on a CPU)"
	@echo "make test        lint and all tests"
	@echo "Another Python: make setup PYTHON=python3.12"

setup: .venv/.ready

.venv/.ready: req.txt
	$(install)

# Playing on a CPU needs no PyTorch: a small installation (sd/req.txt), unless everything is installed already.
play: $(if $(GPU),setup,$(if $(wildcard .venv/.ready),setup,.venv/.playing))
	$(PY) sd/play_sd.py

.venv/.playing: sd/req.txt
	$(install)

web: setup
	@$(PY) sd/export_web.py --output-dir output/site --serve

# All steps with small budgets: nine minutes on two CPU cores. The README has the full runs.
dream: setup
	rm -rf output/dream
	$(PY) ppo/train_ppo.py --n-envs 8 --n-epochs 8 --n-steps 256 --record-envs 8 --output-dir output/dream/ppo
	$(PY) sd/train_autoencoder.py --trajectories output/dream/ppo/trajectories.npz --output-dir output/dream/autoencoder --max-minutes 2.3
	$(PY) sd/train_sd.py --trajectories output/dream/ppo/trajectories.npz --autoencoder-dir output/dream/autoencoder --output-dir output/dream/sd --max-minutes 4.5
	$(PY) sd/play_sd.py --decoder-path output/dream/sd/decoder.pt --model-path output/dream/sd/final.pt \
		--trajectory-path output/dream/sd/initial_sequence.npz --headless --frames 150 --record output/dream/dream.mp4

# make mine GAME=LunarLander-v3 | VIDEOS=folder | RECORDING=file.npz, with MINUTES=480 for a better model.
MINUTES ?= 45
SOURCE = $(if $(GAME),--game $(GAME),$(if $(VIDEOS),--videos "$(VIDEOS)",--recording "$(RECORDING)"))
mine: setup
	@test -n "$(GAME)$(VIDEOS)$(RECORDING)" || { echo "say which: make mine GAME=LunarLander-v3, or VIDEOS=folder, or RECORDING=file.npz"; exit 2; }
	@$(PY) sd/train_my_game.py $(SOURCE) --max-minutes $(MINUTES) $(if $(OPTIONS),-- $(OPTIONS))

# Trains agent, autoencoder and diffusion model from scratch in output/pretrained, then replaces ppo/pretrained and
# sd/pretrained, and evaluates. A stopped run continues; rm -rf output/pretrained starts over. TRAIN_MINUTES is the time
# from the recording to the exported model. To try it: AGENT_EPOCHS=2 FRAMES=6000 TRAIN_MINUTES=2
AGENT_EPOCHS ?= 61
FRAMES ?= 163840
TRAIN_MINUTES ?= $(if $(BIG_GPU),9,105)
P = output/pretrained
MODEL = $(P)/run/model
continue = $(if $(wildcard $(1)/last.pt),--resume)

pretrained: $(P)/agent/.done
	$(PY) sd/train_my_game.py --game Mode7Kart-v0 --from-scratch --max-minutes $(TRAIN_MINUTES) --no-play \
		--output-dir $(P)/run -- --agent $(P)/agent/best.pt --frames $(FRAMES)
	cp $(P)/agent/best.pt ppo/pretrained/agent.pt
	cp $(MODEL)/final.pt sd/pretrained/model.pt
	cp $(MODEL)/encoder.pt $(MODEL)/decoder.pt $(MODEL)/initial_sequence.npz sd/pretrained/
	$(PY) sd/export_sd.py
	$(PY) sd/train_play_networks.py --trajectories $(P)/run/recording.npz --agent-path ppo/pretrained/agent.pt --output-dir sd/pretrained
	$(PY) sd/evaluate_sd.py --trajectories $(P)/run/recording.npz --agent-path ppo/pretrained/agent.pt --quick --output-dir $(P)/evaluation

$(P)/agent/.done: | setup
	$(PY) ppo/train_ppo.py --n-epochs $(AGENT_EPOCHS) --record-envs 0 --explore-envs 0 --output-dir $(P)/agent $(call continue,$(P)/agent)
	touch $@

# Agents that learn in a model of random play, and their rivals, in 20 real races; two hours on two CPU cores.
# A stopped run continues after the last finished file; rm -rf output/agents starts over. To try it:
# make agents RANDOM_FRAMES=4000 RANDOM_AE_MINUTES=0.5 RANDOM_MINUTES=1 LEARN_EPOCHS=2 SEEDS=0
RANDOM_FRAMES ?= 65536
RANDOM_AE_MINUTES ?= 7
RANDOM_MINUTES ?= 33
LEARN_EPOCHS ?= 48
SEEDS ?= 0 1 2
A = output/agents
IN_MODEL = --game dream_env:Dream-v0 --game-path sd --game-settings model_path=$(A)/sd/final.pt recording=$(A)/random.npz
IN_GAME = --frame-size 56 128
LEARN = $(PY) ppo/train_ppo.py --n-steps 128 --n-epochs $(LEARN_EPOCHS) --record-envs 0 --explore-envs 0 --video-every 0
comma := ,
empty :=
best = $(subst $(empty) $(empty),$(comma),$(foreach seed,$(SEEDS),$(A)/$(1)_$(seed)/best.pt))
RACE = $(PY) ppo/evaluate_ppo.py --agent cloned=$(A)/cloned.pt in-model=$(call best,model) in-game=$(call best,game) pretrained=ppo/pretrained/agent.pt

agents: $(A)/cloned.pt $(foreach seed,$(SEEDS),$(A)/model_$(seed)/.done $(A)/game_$(seed)/.done)
	$(RACE) $(IN_GAME) --plot $(A)/returns.png --json $(A)/game.json
	$(RACE) $(IN_MODEL) --json $(A)/model.json
	$(PY) ppo/compare_returns.py $(A)/game.json $(A)/model.json

$(A)/random.npz: | setup
	$(PY) ppo/record_trajectories.py --policy sticky=5,brief=2,random=1 --frames $(RANDOM_FRAMES) --frame-size 56 128 --seed 4000 --output $@

$(A)/sd/.done: $(A)/random.npz
	$(PY) sd/train_autoencoder.py --trajectories $< --output-dir $(A)/autoencoder --max-minutes $(RANDOM_AE_MINUTES) $(call continue,$(A)/autoencoder)
	$(PY) sd/train_sd.py --trajectories $< --autoencoder-dir $(A)/autoencoder --output-dir $(A)/sd --rollout-length 32 --max-minutes $(RANDOM_MINUTES) $(call continue,$(A)/sd)
	$(PY) sd/export_sd.py --model-path $(A)/sd/final.pt
	touch $@

$(A)/model_%/.done: $(A)/sd/.done
	$(LEARN) $(IN_MODEL) --test-game Mode7Kart-v0 --seed $* --output-dir $(A)/model_$* $(call continue,$(A)/model_$*)
	touch $@

$(A)/game_%/.done: | setup
	$(LEARN) $(IN_GAME) --seed $* --output-dir $(A)/game_$* $(call continue,$(A)/game_$*)
	touch $@

$(A)/cloned.pt: $(A)/random.npz
	$(PY) ppo/train_cloning.py --trajectories $< --epochs 4 --output $@

test: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

clean:
	rm -rf .venv .pytest_cache .ruff_cache output/dream
