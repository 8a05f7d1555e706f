import gradio as gr

with gr.Blocks(title="Up and well") as demo:
    gr.Markdown("Up")

demo.launch()
