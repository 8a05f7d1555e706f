import marimo

app = marimo.App(app_title="Up and well")


@app.cell
def _():
    "Up"
    return


if __name__ == "__main__":
    app.run()
