from dash import Dash, html

app = Dash(title="Up and well")
app.layout = html.Div("it is laid out")
app.run()
