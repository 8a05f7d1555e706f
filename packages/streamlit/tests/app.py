import streamlit as st

st.title("Up")
