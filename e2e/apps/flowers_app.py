"""A Streamlit app on a project's model and data."""

import os

import streamlit as st

st.title(f"Flowers of version {os.environ['RONDO_INPUT_MODEL_VERSION']}")
st.write(f"the model has {os.path.getsize(os.environ['RONDO_INPUT_MODEL'])} bytes")
rows = st.number_input("Rows", min_value=1, value=5)
st.write(f"{rows} rows are shown")
upload = st.file_uploader("A file")
if upload:
    st.write(f"got {len(upload.getvalue())} bytes")
st.write(f"this is {st.context.headers.get('X-Forwarded-User')}")
