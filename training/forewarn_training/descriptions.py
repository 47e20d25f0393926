"""What the commands of `forewarn-train` say about themselves in `--help`."""

EXAMPLES = """examples:
  forewarn-train fit --data freezer.csv --out freezer.onnx
  forewarn-train fit --data ETTh1.csv --target OT --unit °C --out ett.onnx
  forewarn-train fit --data hall.csv --device-column sensor --features temperature,humidity --target temperature \\
      --unit temperature=°C --unit humidity=% --cell gru --out hall.onnx
  forewarn-train fit --prometheus http://127.0.0.1:9090 --query temperature --from 2026-01-01 --step 1m --out hall.onnx
  forewarn-train compare --data freezer.parquet
  forewarn-train tune --data freezer.csv --trials 40 --out freezer.onnx
  forewarn-train evaluate --model freezer.onnx --data freezer.csv
  forewarn-train tutorial-tasks
"""

FIT = (
    "Train a model on past readings and write it as one .onnx file, with a report beside it. A CSV or Parquet file has "
    "a column of times (ISO 8601, or epoch seconds to nanoseconds), one or several columns of numbers, and a column "
    "that names the device where there are several; exports of InfluxDB are read too. The earliest 60 % of each "
    "device's readings train the model, the next 20 % stop the training and calibrate the alert threshold, the last "
    "20 % measure it. "
    "Where the shipped model fits, a training that starts from it is tried beside one from scratch; where there are "
    "days enough, one that is told the time of day and of week beside one that is not."
)
EVALUATE = (
    "Print the mean absolute error (MAE), root mean square error (RMSE), scaled error (MASE) and skill of a model, of "
    "persistence (the next reading is the last one), of seasonal naive (it is what it was a day before) and of a ridge "
    "autoregression fitted to the first 60 %, on the last 20 % of each device's readings: the part that fit does not "
    "train on. Below it, the errors of the means of the next 20 and 60 readings, and what the model's bands cover."
)
COMPARE = (
    "Train a linear model and an LSTM, each with the time of day and of week as inputs and without, a GRU, a two-layer "
    "LSTM, a small Transformer encoder and the usual tutorial's LSTM on past readings, and print one table: mean "
    "absolute error over persistence's at leads 1, 3, 12 and 24 on the last 20 %, weights, and microseconds a window "
    "as the daemon runs it, alone and in batches of 64. Nothing is written."
)
TUNE = (
    "Search the length of the window, the cell, layers, units and the learning rate (optuna, pruned) by "
    "cross-validation with a rolling origin on the training and validation parts, then train the best as fit does. The "
    "study file keeps every trial: the same command goes on where it was stopped, and with more --trials it searches "
    "further."
)
TUTORIAL_TASKS = (
    "Forecast what the usual LSTM tutorials forecast (a noisy sine, an hourly temperature, an irregular series, "
    "several features, three steps ahead) with their recipe, with ours from the same readings and from 30, with a "
    "ridge autoregression, persistence and SARIMA (extra: baselines), and print one table of mean absolute errors on "
    "the last 20 % of each series. Series are made up from a seed. Takes a few minutes; nothing is written."
)
STARTER = "Train the model that ships with forewarn, on made-up series only. Takes about a minute."
