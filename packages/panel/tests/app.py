import panel as pn

pn.panel("# Up").servable(title="Up and well")
