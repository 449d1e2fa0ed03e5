"""The way back into the tools that detectors are trained with elsewhere.

yolov5        python -m nas.integrations.yolov5: their scripts with our modules, weights both ways
ultralytics   python -m nas.integrations.ultralytics: the same for their `yolo` command
mmyolo        the configuration that `nas.export --format mmyolo` writes; mmyolo_plugin.py
              registers the backbone in MMYOLO's process

None of those tools is a dependency, and nothing of theirs is copied; each is found, if it is
there, by the command that was asked for it.
"""
